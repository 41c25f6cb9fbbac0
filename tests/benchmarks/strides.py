"""What reading a document in windows costs: answers in windows of 128 tokens beside the same model's answers to the whole.

    python tests/benchmarks/strides.py [--count 60] [--stride 32] [--models FOLDER]

Each model is exported twice: with its limit of 512 tokens, which holds the documents whole, and with `max_length=128`, so
that the runtime reads the documents in windows. Results go to results/strides.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import real_texts
import task_models

import edgexf
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import machine
from edgexf_runtimes.session import Session

WINDOW = 128
LENGTHS = (250, 500)  # tokens of a document, least and most
RESULTS = Path(__file__).parent / "results" / "strides.md"
Pairs = Sequence[tuple[Any, Any]]


def same_label(pairs: Pairs) -> str:
    return f"{np.mean([whole['label'] == cut['label'] for whole, cut in pairs]):.2f} of the labels are equal"


def same_entities(pairs: Pairs) -> str:
    shares = []
    for whole, cut in pairs:
        one, other = ({(row["entity_group"], row["start"], row["end"]) for row in rows} for rows in (whole, cut))
        shares.append(2 * len(one & other) / max(len(one) + len(other), 1))
    return f"F1 of the entities {np.mean(shares):.2f}"


def same_answer(pairs: Pairs) -> str:
    return f"{np.mean([whole['answer'] == cut['answer'] for whole, cut in pairs]):.2f} of the answers are equal"


def same_word(pairs: Pairs) -> str:
    return f"{np.mean([whole[0]['token'] == cut[0]['token'] for whole, cut in pairs]):.2f} of the best words are equal"


def same_vectors(pairs: Pairs) -> str:
    found = []
    for whole, cut in pairs:
        one, other = (answer.outputs["last_hidden_state"] for answer in (whole, cut))
        found.append(np.mean((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)))
    return f"mean cosine of the tokens' vectors {np.mean(found):.3f}"


def masked(text: str) -> str:
    words = text.split()
    words[len(words) // 2] = "[MASK]"
    return " ".join(words)


CASES: tuple[tuple[str, Callable[[Session, str, int | None], Any], Callable[[Pairs], str]], ...] = (
    ("single-label", lambda session, text, stride: session.predict(text, stride=stride)[0], same_label),
    ("entities", lambda session, text, stride: session.predict(text, stride=stride, aggregation_strategy="simple"), same_entities),
    ("answers", lambda session, text, stride: session.predict(
        question=f"What about {' '.join(text.split()[40:43])}?", context=text, stride=stride), same_answer),
    ("words", lambda session, text, stride: session.predict(masked(text), stride=stride), same_word),
    ("features", lambda session, text, stride: session.predict(text, stride=stride), same_vectors),
)  # fmt: skip


def bundles(model: str, folder: Path) -> list[Path]:
    """The bundles of a model that read whole documents, and windows."""
    found = [folder / f"{model}-bundle", folder / f"{model}-{WINDOW}"]
    for path, most in zip(found, (None, WINDOW), strict=True):
        if not path.is_dir():
            edgexf.export(task_models.make(model, folder), output=path, explain=(), max_length=most)
    return found


def documents(session: Session, count: int) -> list[str]:
    """Real documents of a length that the model reads whole."""
    known = [text for parts in (3, 4, 5, 6) for text in real_texts.documents(2 * count, parts)]
    fitting = [
        text for text in known if LENGTHS[0] <= len(session.tokenizer.encode(text, truncate=True)[0].ids) < LENGTHS[1]
    ]
    return fitting[:count]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--stride", type=int, default=32)
    parser.add_argument("--models", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.models or Path(made)
        folder.mkdir(exist_ok=True)
        for model, ask, judge in CASES:
            whole_path, cut_path = bundles(model, folder)
            with edgexf.load(whole_path) as whole, edgexf.load(cut_path) as cut:
                pairs, ratios = [], []
                for text in documents(whole, chosen.count):
                    times, answers = [], []
                    for session, stride in ((whole, None), (cut, chosen.stride)):
                        start = time.perf_counter()
                        answers.append(ask(session, text, stride))
                        times.append(time.perf_counter() - start)
                    pairs.append((answers[0], answers[1]))
                    ratios.append(times[1] / times[0])
                joins = whole.task().joins
            rows.append([whole.manifest.task, joins, str(len(pairs)), judge(pairs), f"{np.median(ratios):.2f}"])
            print(" | ".join(rows[-1]), flush=True)
    table = markdown_table(
        ["task", "windows are joined by", "documents", "beside reading it whole", "time of windows / whole"], rows
    )
    RESULTS.write_text(
        "# What reading in windows costs\n\n"
        f"`python tests/benchmarks/strides.py --count {chosen.count} --stride {chosen.stride}` on {machine()}. Documents of {LENGTHS[0]} to\n"
        f"{LENGTHS[1]} tokens, read whole and in windows of {WINDOW} that share {chosen.stride}, by the encoder of all-MiniLM-L6-v2 with random\n"
        "heads, whose answers lie close to each other. What it costs a head that was trained is not measured.\n\n"
        + table
    )


if __name__ == "__main__":
    main()
