"""Compares quantized graphs with fp32: size, outputs, explanations and time, also for plain `quantize_dynamic`.

    python tests/benchmarks/quantization.py [--part reference|large|sentences|hash|naive|families] [--mode MODE]
        [--untimed] [--bundles FOLDER] [--output FOLDER]

`--mode` measures some modes of the parts `reference` and `families`, and replaces the rows of these modes alone.
`--untimed` is for a machine that does other work: it leaves out times, and the reasons that times give.

Bundles that are already in the folder are not exported again. "Size" is the size of the predict graph with its weights;
"pair" adds the explain graph. Times are medians of interleaved pairs of runs. For the byte models, the layers' inputs
are observed, and int8-static is calibrated, on files of the evaluation set. This step reads no label.

The script prints the docstring of each part's function above its table in quantization.md.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import torch
import transformers
from onnxruntime.quantization import quantize_dynamic

sys.path.insert(0, str(Path(__file__).parents[1]))
import modules
from families import small
from minilm import make_longformer, source

import edgexf
from edgexf import bundle, names
from edgexf.dtypes import FP32, MODES, in_dtype
from edgexf.passes.quantize.blockwise import Blockwise
from edgexf.passes.quantize.modes import BuildInputs
from edgexf.passes.quantize.modes import modes as all_modes
from edgexf.pipeline.quantize_bundle import Request, quantize
from edgexf.report.markdown import markdown_table
from edgexf.report.quantization import SLOWER, Outcome
from edgexf_runtimes import Session
from edgexf_runtimes.device.providers import create
from edgexf_runtimes.measure.calibration import stream
from edgexf_runtimes.measure.evaluation import golden_cases
from edgexf_runtimes.measure.speed import random_inputs

DATA = Path(__file__).resolve().parents[1] / "data"
EVALUATION = DATA / "evaluation.jsonl"
REFERENCES = ("transformer", "longformer", "reformer", "linformer")
MAX_DROP, IN_4_BITS = 0.005, 0.015  # what a mode may lose of its accuracy; the second in 4 bits
LARGE = (("bert", 4), ("bert", 12), ("longformer", 4), ("longformer", 12))
CLASSES = 5
FAMILIES = (
    ("Bert", "ForSequenceClassification"), ("Roberta", "ForTokenClassification"), ("DistilBert", "ForMaskedLM"),
    ("Bert", "ForMultipleChoice"), ("Longformer", "ForSequenceClassification"), ("Longformer", "ForQuestionAnswering"),
    ("BigBird", "ForSequenceClassification"), ("Nystromformer", "ForSequenceClassification"),
    ("Funnel", "ForSequenceClassification"), ("Reformer", "ForSequenceClassification"), ("LED", "Model"),
    ("linformer classifier", ""), ("causal reformer", ""), ("nearby", ""), ("landmarks", ""), ("source and target", ""),
)  # fmt: skip
SENTENCES = (
    "The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.", "A man is eating food.",
    "The new movie was a complete waste of time.", "What is the capital of France?", "Interest rates rose by half a point.",
    "She plays the violin in a small orchestra.", "Quantum computers solve some problems faster.", "My cat sleeps all day.",
    "The train leaves at 7:45 from platform 3.", "Please reset your password within 24 hours.",
)  # fmt: skip


def referenced(path: Path) -> int:
    """Returns the size in bytes of a graph and the weights that the graph reads."""
    tensors: set[tuple[str, str, str]] = set()
    for one in onnx.load(path, load_external_data=False).graph.initializer:
        place = {entry.key: entry.value for entry in one.external_data}
        if place:
            tensors.add((place["location"], place["offset"], place["length"]))
    return path.stat().st_size + sum(int(length) for *_, length in tensors)


def sizes(folder: Path, dtype: str) -> tuple[int, int]:
    """Returns two sizes in bytes.

    The first is the predict graph with its weights. The second is both graphs with all weights of the dtype.
    """
    predict = folder / in_dtype(names.PREDICT_FILE, dtype)
    explain = folder / in_dtype(names.explain_files([""])[""], dtype)
    data = predict.with_name(predict.name + "_data").stat().st_size
    return referenced(predict), predict.stat().st_size + data + (explain.stat().st_size if explain.exists() else 0)


def golden(folder: Path, dtype: str) -> str:
    """Checks a dtype on the contract-grid cells in the bundle, against the outputs of the untouched model.

    Returns how many cells of the grid the bundle holds, the largest difference, and whether `edgexf verify` passes.
    """
    part = next(part for part in edgexf.verify(folder).parts if part.dtype == dtype)
    cells = f"{len(part.rows)} of {len(bundle.read(folder).grid['rows'])}"
    return f"{cells}, {part.worst:.1e}, {'passed' if part.passed else 'FAILED'}"


def measured(folder: Path, mode: str, **options: Any) -> tuple[Outcome, tuple[int, int], tuple[int, int], str]:
    """Quantizes a copy of a bundle in a mode.

    Returns the outcome, the sizes of the dtype and of fp32, and the text of the contract grid. `force` keeps a graph
    that would be refused; the outcome's verdict still says so.
    """
    with tempfile.TemporaryDirectory(prefix="edgexf-") as work:
        copy = Path(work, "bundle")
        shutil.copytree(folder, copy)
        outcome = quantize(copy, Request(mode, force=True, **options))[0]
        return outcome, sizes(copy, outcome.dtype), sizes(copy, FP32), golden(copy, outcome.dtype)


def exact(outcome: Outcome) -> str:
    """Returns how many weights were compared use by use with exact arithmetic on stored numbers, and the max error."""
    errors = [layer.error for layer in outcome.layers if layer.error is not None]
    return f"{len(errors)}, {max(errors):.0e}" if errors else "-"


def times(outcome: Outcome) -> str:
    """Returns how many times as fast as fp32 the graph is."""
    return ", ".join(f"{1 / row.ratio:.2f}x at {row.length:,}" for row in outcome.speed)


def max_drop(mode: str) -> float:
    scheme = all_modes()[mode].scheme
    return IN_4_BITS if scheme is not None and isinstance(scheme(BuildInputs()), Blockwise) else MAX_DROP


def reference(bundles: Path, modes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The four trained models, every mode, on the whole evaluation set."""
    for variant in REFERENCES:
        folder = bundles / variant
        if not folder.exists():
            edgexf.export(variant=variant, output=folder)
        for mode in modes:
            data = EVALUATION if all_modes()[mode].needs_calibration else None
            outcome, (predict, pair), (whole, whole_pair), grid = measured(
                folder, mode, evaluate=EVALUATION, max_drop=max_drop(mode), calibration=data
            )
            explain = outcome.explain[0]
            yield (
                variant, mode, f"{predict / whole:.1%}", f"{pair / whole_pair:.1%}",
                f"{outcome.fp32_metric:.3f} -> {outcome.metric:.3f}", f"{outcome.agreement:.4f}", exact(outcome),
                f"{outcome.worst:.1e}", grid,
                f"{explain.correlation:.3f}, {explain.overlap:.2f}", times(outcome),
                str(sum("was kept" in layer.skipped for layer in outcome.layers)),
                "kept" if outcome.verdict == "kept" else "; ".join(outcome.reasons),
            )  # fmt: skip


def large(bundles: Path) -> Iterator[tuple[str, ...]]:
    """BERT and Longformer of the published width with random weights: size and speed."""
    for kind, layers in LARGE:
        folder = bundles / f"{kind}-{layers}"
        if not folder.exists():
            torch.manual_seed(0)
            edgexf.export(published(kind, layers), output=folder, explain=())
        for mode in ("int8", "q4"):
            outcome, (predict, _), (whole, _), grid = measured(folder, mode, lengths=(128, 512, 4096))
            size = f"{predict / whole:.1%}"
            yield f"{kind}, {layers} layers x 768", mode, size, grid, times(outcome), outcome.verdict


def published(kind: str, layers: int) -> transformers.PreTrainedModel:
    if kind == "bert":
        bert = transformers.BertConfig(num_hidden_layers=layers, num_labels=CLASSES)
        return transformers.BertForSequenceClassification(bert).eval()
    config = transformers.LongformerConfig(
        num_hidden_layers=layers, num_labels=CLASSES, attention_window=512, max_position_embeddings=4098, vocab_size=50265,
        type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2, sep_token_id=2,
    )  # fmt: skip
    return transformers.LongformerForSequenceClassification(config).eval()


def sentences(bundles: Path) -> Iterator[tuple[str, ...]]:
    """Embeddings of real weights: the cosine of each sentence's mean vector with fp32's."""
    for name, make in (
        ("all-MiniLM-L6-v2", lambda _: source()),
        ("its Longformer", lambda work: (make_longformer(work), work)[1]),
    ):
        folder = bundles / name.replace(" ", "-")
        with tempfile.TemporaryDirectory(prefix="edgexf-") as work:
            if not folder.exists():
                edgexf.export(str(make(Path(work, "model"))), output=folder, explain=())
            for data in (None, EVALUATION):
                copy = Path(work, "copy")
                shutil.copytree(folder, copy)
                calibration = None if data is None else text_lines(Path(work))
                outcome = quantize(copy, Request("int8", force=True, calibration=calibration, lengths=(128, 512)))[0]
                with edgexf.load(copy, dtype="fp32") as one, edgexf.load(copy, dtype="q8") as other:
                    found = [cosine(one, other, text) for text in SENTENCES]
                    files = [cosine(one, other, text) for text in documents()[::2]]
                predict, whole = sizes(copy, "q8")[0], sizes(copy, "fp32")[0]
                shutil.rmtree(copy)
                yield (
                    name, "built-in texts" if data is None else "files of the kind", f"{predict / whole:.1%}",
                    f"{np.mean(found):.5f}, least {min(found):.5f}", f"{np.mean(files):.5f}, least {min(files):.5f}", times(outcome),
                )  # fmt: skip


def documents() -> list[str]:
    """Returns the texts among the evaluation files: code, markup and prose."""
    texts = [path.read_bytes() for path in sorted((DATA / "evaluation").glob("*.bin"))]
    return [text.decode()[:800] for text in texts if text.isascii() and len(text) > 100][::3]


def text_lines(folder: Path) -> Path:
    """Writes every second document as a line of a JSON Lines file."""
    path = folder / "calibration.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in documents()[1::2]))
    return path


def cosine(one: Session, other: Session, text: str) -> float:
    inputs = one.encode([text], truncate=True)
    first, second = (session.run(**inputs)["last_hidden_state"][0].mean(axis=0) for session in (one, other))
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def naive(bundles: Path) -> Iterator[tuple[str, ...]]:
    """`quantize_dynamic(model, output)` on the same fp32 graphs, side by side with int8; where it fails as it comes,
    once more on a graph without the value_info that it stumbles over.
    """
    for name in (*REFERENCES, "bert-4", "all-MiniLM-L6-v2"):
        folder = bundles / name
        with tempfile.TemporaryDirectory(prefix="edgexf-") as work:
            copy = Path(work, "bundle")
            shutil.copytree(folder, copy)
            quantize(copy, Request("int8", force=True, lengths=(64,)))
            for file in ("model.onnx", "explain.onnx"):
                if not (folder / "onnx" / file).exists():
                    continue
                graph = onnx.load(folder / "onnx" / file)
                plain, ours = Path(work, "naive.onnx"), copy / in_dtype(f"onnx/{file}", "q8")
                called = dynamically(graph, plain)
                if called:
                    yield name, file, f"fails: {called}", *["-"] * 6
                    del graph.graph.value_info[:]
                    called = dynamically(graph, plain)
                told = f"fails: {called}" if called else "runs"
                figures = ["-"] * 6 if called else compared(folder, folder / "onnx" / file, plain, ours)
                yield name, file, told, *figures


def dynamically(graph: onnx.ModelProto, output: Path) -> str:
    """Calls the library on a graph. Returns the name of the exception, or '' if the call succeeds."""
    given = output.with_name("fp32.onnx")
    onnx.save(graph, given)
    try:
        quantize_dynamic(str(given), str(output))
    except Exception as error:  # noqa: BLE001 (the table shows whatever the library raises)
        return type(error).__name__
    return ""


def compared(folder: Path, fp32: Path, plain: Path, ours: Path) -> tuple[str, ...]:
    """Returns the sizes, worst errors and speeds of two quantized graphs."""
    sessions = [create(path, ("cpu",), None) for path in (fp32, plain, ours)]
    with edgexf.load(folder, dtype="fp32") as session:
        feeds = inputs_of(session)
        wanted = [value.name for value in sessions[0].get_inputs()]
        errors: list[list[float]] = [[], []]
        for arrays in feeds:
            given = {name: arrays[name] for name in wanted if name in arrays}
            target = np.eye(len(session.manifest.labels), dtype=np.float32)[:1]
            given |= {name: target for name in wanted if name == names.TARGET}
            first = session.manifest.variants[0].outputs[0].name
            output = names.RELEVANCE if fp32.name.startswith("explain") else first
            truth, *others = (one.run([output], given)[0] for one in sessions)
            for place, found in enumerate(others):
                errors[place].append(float(np.abs(found - truth).max() / np.abs(truth).max()))
        ratios = [speed(sessions[0], other, given) for other in sessions[1:]]
    whole, size, other = referenced(fp32), plain.stat().st_size, referenced(ours)
    return (
        f"{size / whole:.1%}", f"{other / whole:.1%}", f"{np.max(errors[0]):.1e}", f"{np.max(errors[1]):.1e}",
        f"{ratios[0]:.2f}x", f"{ratios[1]:.2f}x",
    )  # fmt: skip


def inputs_of(session: Session) -> list[dict[str, Any]]:
    """Returns a few rows. The last row is also timed."""
    if session.manifest.preprocess is None:
        return [session.checked(random_inputs(session, length)) for length in (64, 512)]
    if session.manifest.preprocess.kind == "text":
        return [session.encode([text], truncate=True) for text in documents()[:6]]
    return [arrays for _, arrays in zip(range(12), stream(session, EVALUATION), strict=False)]


def speed(reference: Any, other: Any, given: dict[str, Any]) -> float:
    pairs = []
    for _ in range(17):
        start = time.perf_counter()
        reference.run(None, given)
        middle = time.perf_counter()
        other.run(None, given)
        pairs.append((middle - start) / (time.perf_counter() - middle))
    return float(np.median(pairs[2:]))


def hashed(bundles: Path) -> Iterator[tuple[str, ...]]:
    """The share of the hashed model's tokens that change their bucket: by the 8 bits of the layers before a hash, as q8
    has them, and by those that a hash itself would have, which stays in float32.
    """
    with tempfile.TemporaryDirectory(prefix="edgexf-") as work:
        copy = Path(work, "bundle")
        shutil.copytree(bundles / "reformer", copy)
        quantize(copy, Request("int8", force=True, lengths=(64,)))
        paths = (copy / in_dtype(names.PREDICT_FILE, dtype) for dtype in ("fp32", "q8"))
        (seen, rotations), (other, _) = map(hashing, paths)
        with edgexf.load(copy, dtype="fp32") as session:
            rows = [arrays for _, arrays in zip(range(12), stream(session, EVALUATION), strict=False)]
    layers, itself = ([[] for _ in rotations] for _ in range(2))
    for arrays in rows:
        given = {value.name: arrays[value.name] for value in seen.get_inputs()}
        keys, rounded = (one.run(None, given)[-len(rotations) :] for one in (seen, other))
        for layer, rotation in enumerate(rotations):
            wanted = buckets(keys[layer] @ rotation)
            step = (keys[layer].max() - keys[layer].min()) / 255
            scale = np.abs(rotation).max() / 127
            in_bytes = (np.rint(keys[layer] / step) * step) @ (np.rint(rotation / scale) * scale)
            layers[layer].append(np.mean(wanted != buckets(rounded[layer] @ rotation)))
            itself[layer].append(np.mean(wanted != buckets(in_bytes)))
    for number, (first, second) in enumerate(zip(layers, itself, strict=True)):
        yield f"layer {number}", f"{np.mean(first):.2%}", f"{np.mean(second):.2%}"


def hashing(path: Path) -> tuple[Any, list[Any]]:
    """Opens a graph that also outputs the vectors that it hashes.

    Returns the session, whose extra outputs stand behind the graph's outputs, and the rotations, layer by layer.
    """
    model = onnx.load(path)
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    found = [
        (node.input[0], constants[node.input[1]])
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in constants and constants[node.input[1]].ndim > 2
    ]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name, _ in found)
    onnx.save(model, path.with_name("seen.onnx"))
    session = create(path.with_name("seen.onnx"), ("cpu",), None)
    path.with_name("seen.onnx").unlink()
    return session, [rotation for _, rotation in found]


def buckets(projected: Any) -> Any:
    """Returns the hash buckets: the largest of the projections and their negatives (Kitaev et al. 2020, section 2)."""
    return np.concatenate([projected, -projected], axis=-1).argmax(axis=-1)


def golden_lines(bundle: Path, folder: Path) -> Path:
    """Writes the golden inputs of a bundle as JSON Lines, one line of arrays for each input."""
    path = folder / "golden.jsonl"
    with edgexf.load(bundle) as session:
        inputs = [case.arrays for case in golden_cases(session)]
    lines = [{"arrays": {name: array.tolist() for name, array in one.items()}} for one in inputs]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def families(bundles: Path, modes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """A small model of every family and kind of head with random weights, which every mode must build and run.
    int8-static is calibrated on the bundle's golden inputs, as arrays.
    """
    del bundles
    for family, head in FAMILIES:
        with tempfile.TemporaryDirectory(prefix="edgexf-") as work:
            folder = Path(work, "bundle")
            if head:
                edgexf.export(small(family, head, layers=2), output=folder)
            else:
                module, examples = modules.small(family)
                edgexf.export(module, example_inputs=examples, output=folder)
            data = golden_lines(folder, Path(work))
            for mode in modes:
                calibration = data if all_modes()[mode].needs_calibration else None
                outcome = quantize(folder, Request(mode, force=True, lengths=(32,), calibration=calibration))[0]
                explain = "; ".join(f"{row.correlation:.3f}, {row.overlap:.2f}" for row in outcome.explain) or "-"
                quantized = str(sum(not layer.skipped for layer in outcome.layers))
                tolerance, grid = f"{outcome.tolerance:g}", golden(folder, outcome.dtype)
                yield f"{family}{head}", mode, quantized, exact(outcome), grid, tolerance, explain


def without_times(header: tuple[str, ...], row: tuple[str, ...]) -> tuple[str, ...]:
    """A row that says nothing of times, and in its verdict no reason that they gave."""
    cells = dict(zip(header, row, strict=True))
    if "speed" in cells:
        cells["speed"] = "not timed"
        reasons = [reason for reason in cells["verdict"].split("; ") if not reason.startswith(SLOWER)]
        cells["verdict"] = "; ".join(reasons) or "not timed"
    return tuple(cells.values())


def in_order(rows: Sequence[list[str]]) -> list[list[str]]:
    """Rows of all modes: by model in the order of their first rows, then by mode in the order of `edgexf.dtypes`."""
    models = list(dict.fromkeys(row[0] for row in rows))
    return sorted(rows, key=lambda row: (models.index(row[0]), MODES.index(row[1])))


Part = tuple[tuple[str, ...], Callable[..., Iterator[tuple[str, ...]]]]
PARTS: dict[str, Part] = {
    "reference": (("model", "mode", "size", "pair", "top-1", "agreement", "layers", "worst error", "contract grid", "relevance", "speed", "kept in fp32", "verdict"), reference),
    "large": (("model", "mode", "size", "contract grid", "speed", "verdict"), large),
    "sentences": (("model", "watched on", "size", "cosine, sentences", "cosine, files", "speed"), sentences),
    "naive": (("model", "graph", "the call", "naive size", "int8 size", "naive error", "int8 error", "naive speed", "int8 speed"), naive),
    "hash": (("reformer", "layers in 8 bits", "hash in 8 bits"), hashed),
    "families": (("model", "mode", "weights quantized", "layers", "contract grid", "tolerance", "relevance"), families),
}  # fmt: skip
OF_ALL_MODES = ("reference", "families")


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)), help="By default all.")
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="By default all.")
@click.option("--untimed", is_flag=True, help="Leaves out times and what they decide.")
@click.option("--bundles", type=click.Path(file_okay=False, path_type=Path), help="Where exports are kept.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), default=Path(__file__).parent / "results")
def main(parts: tuple[str, ...], modes: tuple[str, ...], untimed: bool, bundles: Path | None, output: Path) -> None:
    """Measure, print, and keep the tables in quantization.json and quantization.md."""
    parts = parts or tuple(PARTS)
    if modes and not set(parts) <= set(OF_ALL_MODES):
        raise click.UsageError(f"--mode is for the parts {', '.join(OF_ALL_MODES)}, got {', '.join(parts)}; name one.")
    store = output / "quantization.json"
    found: dict[str, list[list[str]]] = json.loads(store.read_text()) if store.exists() else {}
    with tempfile.TemporaryDirectory(prefix="edgexf-") as work:
        for part in parts:
            header, measure = PARTS[part]
            rows = [row for row in found.get(part, []) if modes and row[1] not in modes]
            chosen = [modes or MODES] if part in OF_ALL_MODES else []
            for row in measure(bundles or Path(work), *chosen):
                row = without_times(header, row) if untimed else row
                rows.append(list(row))
                print(" | ".join(row), flush=True)
            found[part] = in_order(rows) if part in OF_ALL_MODES else rows
            store.write_text(json.dumps(found, indent=1) + "\n")
    shown = [part for part in PARTS if part in found]
    texts = [
        f"## {part}\n\n{PARTS[part][1].__doc__}\n\n{markdown_table(PARTS[part][0], found[part])}" for part in shown
    ]
    (output / "quantization.md").write_text("\n".join(texts))


if __name__ == "__main__":
    main()
