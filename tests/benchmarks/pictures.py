"""A hundred real pictures through image classifiers, beside transformers' image-classification pipeline.

    python tests/benchmarks/pictures.py           each family that results/pictures.jsonl lacks
    python tests/benchmarks/pictures.py --only vit,resnet
    python tests/benchmarks/pictures.py --table   only the table, from the lines that are there

In: the pictures that Python packages of this environment bring (sample data of matplotlib and scikit-learn, figures of
others), and parts of them, turned, made smaller and saved in other modes and formats, up to a hundred files. Out: a line
of JSON for each case in results/pictures.jsonl, and the table pictures.md.

A case is a family with random weights, whose answers depend on pixels, and an image processor with its own sizes scaled
to 64 pixels. The pipeline has the PIL backend, since torchvision is not part of the comparison. Both get the path of each
file. `scores` is the largest difference of a score of any label; `labels` counts the pictures whose five best labels are the
same in the same order; `answers` is how many different best labels and scores (to 4 digits) the pictures got.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.census import RESULTS
from image_families import small_image_model

import edgexf
from edgexf import names
from edgexf.report.markdown import markdown_table
from edgexf_exporters.sources.general.pictures import scaled
from edgexf_runtimes.device.device import machine

LINES, TABLE = RESULTS / "pictures.jsonl", RESULTS / "pictures.md"
COUNT, SIDE, LABELS = 100, 64, 7
SCORE = 1e-4  # of a probability: what the project promises
# A family of `image_families`, and a processor: those of its checkpoints, then others whose steps differ.
CASES = {
    "vit": ("ViT", "ViTImageProcessor"),
    "deit": ("DeiT", "DeiTImageProcessor"),
    "swin": ("Swin", "ViTImageProcessor"),
    "convnext": ("ConvNext", "ConvNextImageProcessor"),
    "resnet": ("ResNet", "ConvNextImageProcessor"),
    "efficientnet": ("EfficientNet", "EfficientNetImageProcessor"),
    "mobilenet_v2": ("MobileNetV2", "MobileNetV2ImageProcessor"),
    "vit as clip": ("ViT", "CLIPImageProcessor"),
    "vit as mobilevit": ("ViT", "MobileViTImageProcessor"),
    "vit as levit": ("ViT", "LevitImageProcessor"),
    "vit as poolformer": ("ViT", "PoolFormerImageProcessor"),
}
FORMATS = (("RGB", "JPEG"), ("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("LA", "PNG"),
           ("1", "PNG"), ("RGB", "WEBP"), ("P", "GIF"))  # fmt: skip


def found() -> list[Path]:
    """The pictures of the packages, the largest files first."""
    place = Path(np.__file__).parents[1]
    kinds = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif")
    files = [path for path in place.rglob("*") if path.suffix.lower() in kinds and path.is_file()]
    return sorted(files, key=lambda path: (-path.stat().st_size, path.name))[: COUNT // 4]


def pictures(folder: Path) -> list[Path]:
    """A hundred files: the originals first, then parts of them."""
    random, originals = np.random.default_rng(0), found()
    files = list(originals)
    while len(files) < COUNT:
        number = len(files)
        with Image.open(originals[number % len(originals)]) as opened:
            whole = opened.convert("RGB")
        width, height = (max(int(side * random.uniform(0.15, 0.9)), 1) for side in whole.size)
        left, top = int(random.integers(whole.width - width + 1)), int(random.integers(whole.height - height + 1))
        part = whole.crop((left, top, left + width, top + height)).rotate(90 * int(random.integers(4)), expand=True)
        part.thumbnail((int(random.integers(8, 700)),) * 2)
        mode, kind = FORMATS[number % len(FORMATS)]
        files.append(folder / f"{number}.{kind.lower()}")
        part.convert(mode).save(files[-1], kind)
    return files


def measured(case: str, files: list[Path]) -> dict[str, Any]:
    """One case: the bundle's answers beside those of the pipeline."""
    family, processor = CASES[case]
    model = small_image_model(family, image_size=SIDE, num_labels=LABELS)
    side = 256 if processor == "MobileViTImageProcessor" else 224
    side = {"EfficientNetImageProcessor": 346, "ConvNextImageProcessor": 384}.get(processor, side)
    values = scaled({}, SIDE / side, processor)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        (Path(folder) / names.PROCESSOR_FILE).write_text(json.dumps({"image_processor_type": processor, **values}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bundle = edgexf.export(folder, output=Path(folder) / "bundle", explain=())
        with edgexf.load(bundle.path) as session:
            mine = [session.predict(file).top for file in files]
            logits = [session.run(session.encode(file))["logits"][0].astype(float) for file in files]
    known = getattr(transformers, f"{processor}Pil")(**values)
    pipeline = transformers.pipeline("image-classification", model=model, image_processor=known)
    theirs = [pipeline(str(file), top_k=LABELS) for file in files]
    worst, alike = 0.0, 0
    for row, one, other in zip(logits, mine, theirs, strict=True):
        scores = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        by_label = {entry["label"]: entry["score"] for entry in other}
        labels = [model.config.id2label[place] for place in range(LABELS)]
        worst = max(worst, *(abs(float(score) - by_label[label]) for label, score in zip(labels, scores, strict=True)))
        best = [labels[place] for place in np.argsort(-scores, kind="stable")[:5]]
        alike += best == [entry["label"] for entry in other[:5]] and best[0] == one[0][0]
    answers = len({(one[0][0], round(one[0][1], 4)) for one in mine})
    return {
        "case": case, "processor": processor, "pictures": len(files), "labels": alike, "scores": worst, "answers": answers,
        "bytes": sum(file.stat().st_size for file in files), "machine": machine(), "transformers": transformers.__version__,
    }  # fmt: skip


def lines() -> Iterator[dict[str, Any]]:
    if LINES.is_file():
        yield from map(json.loads, LINES.read_text(encoding="utf-8").splitlines())


def table() -> str:
    rows = list(lines())
    cells = [
        (
            row["case"],
            row["processor"],
            f"{row['labels']} of {row['pictures']}",
            f"{row['scores']:.1e}",
            str(row["answers"]),
        )
        for row in rows
    ]
    first = rows[0]
    return (
        "# Pictures beside transformers' pipeline\n\n"
        f"`python tests/benchmarks/pictures.py`, {first['machine']}, transformers {first['transformers']} with its PIL "
        f"backend: {first['pictures']} files, {first['bytes'] / 1e6:.1f} MB. Bound of a score: {SCORE:g}.\n\n"
        + markdown_table(("model", "processor", "five best labels alike", "worst score", "different answers"), cells)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    only = [case for case in asked.only.split(",") if case]
    if not asked.table:
        done = {row["case"]: row for row in lines() if row["case"] not in only}
        with tempfile.TemporaryDirectory() as folder:
            files = pictures(Path(folder))
            assert len(files) == COUNT
            for case in only or [case for case in CASES if case not in done]:
                done[case] = measured(case, files)
                print(json.dumps(done[case]), flush=True)
                ordered = [done[one] for one in CASES if one in done]
                LINES.write_text("".join(json.dumps(row) + "\n" for row in ordered), encoding="utf-8")
    TABLE.write_text(table(), encoding="utf-8")
    print(TABLE.read_text(encoding="utf-8"))
    wrong = [row["case"] for row in lines() if row["scores"] > SCORE or row["labels"] < row["pictures"]]
    if wrong:
        raise SystemExit(f"answers differ: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
