"""Answers of every text task, compared with the pipelines of transformers on the same weights.

    python tests/benchmarks/tasks.py [--count 100] [--only NAME]... [--reference-python PYTHON] [--models FOLDER]

Question answering is compared with the last 4.x release of transformers, which `--reference-python` names: a Python of an
environment with ``pip install "transformers==4.57.*" "torch>=2.13,<2.14"``. Without it, this case is left out, and the
table says so. Results go to results/tasks.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import real_texts
import task_models

import edgexf
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import machine

CHILD = Path(__file__).with_name("reference_pipeline.py")
RESULTS = Path(__file__).parent / "results" / "tasks.md"
LABELS = ("software", "cooking", "mathematics", "travel")
SCORES = 1e-4  # what the scores may differ


@dataclass(frozen=True)
class Case:
    """One comparison: a checkpoint, a pipeline, and the calls of both.

    Attributes:
        name: of the case.
        model: a name of `task_models.MODELS`.
        task: of the pipeline.
        options: of both calls.
        theirs: further options of the pipeline's call, and in `ours` those of edgexf's.
        inputs: what is asked: ``texts``, ``pairs``, ``questions``, ``masks`` or ``documents``.
        old: the pipeline of the last 4.x release answers.
    """

    name: str
    model: str
    task: str
    options: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)
    inputs: str = "texts"
    old: bool = False


def entities(strategy: str, **more: Any) -> Case:
    return Case(f"entities, {strategy}", "entities", "token-classification", {"aggregation_strategy": strategy}, **more)


QA, CLASSIFY = "question-answering", "text-classification"
CASES = (
    Case("one label", "single-label", CLASSIFY),
    Case("all labels", "single-label", CLASSIFY, {"top_k": None}),
    Case("pairs", "single-label", CLASSIFY, inputs="pairs"),
    Case("several labels", "multi-label", CLASSIFY, {"top_k": None}),
    Case("regression", "regression", CLASSIFY),
    Case("one score", "relevance", CLASSIFY),
    *(entities(strategy) for strategy in ("none", "simple", "first", "average", "max")),
    Case(
        "entities of long documents", "entities", "token-classification",
        {"aggregation_strategy": "simple", "stride": 64}, inputs="documents",
    ),
    Case("an answer", "answers", QA, inputs="questions", old=True),
    Case("five answers", "answers", QA, {"top_k": 5, "max_answer_len": 30}, inputs="questions", old=True),
    Case("impossible answers", "answers", QA, {"handle_impossible_answer": True}, inputs="questions", old=True),
    Case("answers by tokens", "answers", QA, {"align_to_words": False}, inputs="questions", old=True),
    Case("answers in long documents", "answers", QA, {"doc_stride": 64}, inputs="long questions", old=True),
    Case("words", "words", "fill-mask", inputs="masks"),
    Case("two words", "words", "fill-mask", inputs="two masks"),
    Case("words among targets", "words", "fill-mask", {"targets": ["the", "python", "good"]}, inputs="masks"),
    Case("zero-shot", "entailment", "zero-shot-classification", {"candidate_labels": LABELS}),
    Case("zero-shot, several", "entailment", "zero-shot-classification", {"candidate_labels": LABELS, "multi_label": True}),
    Case("features", "features", "feature-extraction"),
)  # fmt: skip


def calls(case: Case, count: int) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """The arguments of each call."""
    texts = real_texts.texts(count)
    documents = real_texts.documents(count, 12) if "documents" in case.inputs or "long" in case.inputs else []
    for place, text in enumerate(texts):
        words = text.split()
        if case.inputs == "pairs":
            yield [{"text": text, "text_pair": texts[place - 1]}], {}
        elif "questions" in case.inputs:
            context = documents[place] if "long" in case.inputs else text
            yield [], {"question": f"What about {' '.join(words[3:6])}?", "context": context}
        elif "mask" in case.inputs:
            places = [len(words) // 2, len(words) // 4][: 2 if "two" in case.inputs else 1]
            yield [" ".join("[MASK]" if at in places else word for at, word in enumerate(words))], {}
        else:
            yield [documents[place] if case.inputs == "documents" else text], {}


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference of two numbers in answers. ValueError if anything else differs."""
    if isinstance(ours, float) and isinstance(theirs, int | float):
        return abs(ours - theirs)
    if isinstance(theirs, dict) and isinstance(ours, dict) and set(ours) == set(theirs):
        return max((difference(ours[key], theirs[key]) for key in theirs), default=0.0)
    sequences = not isinstance(theirs, str) and hasattr(theirs, "__len__") and not isinstance(theirs, dict)
    if sequences and not isinstance(ours, str | dict) and hasattr(ours, "__len__") and len(ours) == len(theirs):
        return max((difference(one, other) for one, other in zip(ours, theirs, strict=True)), default=0.0)
    if ours != theirs or type(ours) is not type(theirs):
        raise ValueError(f"{str(ours)[:200]!r} where the pipeline has {str(theirs)[:200]!r}")
    return 0.0


class Pipeline:
    """A pipeline in a child process."""

    def __init__(
        self, python: str, task: str, checkpoint: Path, threads: int = 2, child: Path = CHILD, kind: str = ""
    ) -> None:
        more = [kind] if kind else []
        self.child = subprocess.Popen(
            [python, str(child), task, str(checkpoint), str(threads), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.versions = self._read()

    def _read(self) -> Any:
        if self.child.stdout is None or not (line := self.child.stdout.readline()):
            raise RuntimeError(f"the pipeline must answer, got the exit code {self.child.wait()}; see its error above")
        return json.loads(line)

    def __call__(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[float, Any]:
        """The seconds of a call, and its answer."""
        if self.child.stdin is None:
            raise RuntimeError("the pipeline has ended")
        self.child.stdin.write(json.dumps([args, kwargs]) + "\n")
        self.child.stdin.flush()
        seconds, answer = self._read()
        return seconds, answer

    def close(self) -> None:
        if self.child.stdin is not None:
            self.child.stdin.close()
        self.child.wait()


def bundle_of(model: str, models: Path) -> Path:
    """The bundle of a checkpoint, exported once."""
    bundle = models / f"{model}-bundle"
    if not bundle.is_dir():
        edgexf.export(task_models.make(model, models), output=bundle, explain=())
    return bundle


def compared(case: Case, python: str, models: Path, count: int) -> list[str]:
    """The row of a case."""
    bundle, worst, wrong = bundle_of(case.model, models), 0.0, []
    with closing(Pipeline(python, case.task, models / case.model)) as pipeline, edgexf.load(bundle) as session:
        for args, kwargs in calls(case, count):
            given = {**kwargs, **case.options}
            _, theirs = pipeline(args, {**given, **case.theirs})
            try:
                found = difference(session.predict(*args, **{**given, **case.ours}), theirs)
            except ValueError as error:
                wrong.append(f"{error}, for {str(args or kwargs)[:80]}")
                continue
            worst = max(worst, found)
        versions = pipeline.versions
    for line in wrong[:3]:
        print(f"  {line}", flush=True)
    agree = sum(1 for _ in range(count)) - len(wrong)
    verdict = "agree" if not wrong and worst <= SCORES else "DIFFER"
    return [
        case.name,
        case.task,
        f"transformers {versions['transformers']}",
        f"{agree} of {count}",
        f"{worst:.1e}",
        verdict,
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--only", action="append")
    parser.add_argument("--reference-python")
    parser.add_argument("--models", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made:
        models, rows = chosen.models or Path(made), []
        models.mkdir(exist_ok=True)
        for case in CASES:
            if chosen.only and case.name not in chosen.only:
                continue
            if case.old and chosen.reference_python is None:
                rows.append([case.name, case.task, "left out: no --reference-python", "", "", ""])
                continue
            rows.append(compared(case, chosen.reference_python if case.old else sys.executable, models, chosen.count))
            print(" | ".join(rows[-1]), flush=True)
    header = ["case", "pipeline", "of", "same labels, places and words", "largest difference of a number", ""]
    table = markdown_table(header, rows)
    if not chosen.only:
        RESULTS.write_text(
            "# Answers compared with transformers' pipelines\n\n"
            f"`python tests/benchmarks/tasks.py --count {chosen.count}` on {machine()}, edgexf "
            f"{edgexf.__version__}. The texts are paragraphs from the descriptions of installed packages, with three in\n"
            "several scripts and with emoji. The encoder and the tokenizer are those of all-MiniLM-L6-v2, the heads are random.\n"
            "Numbers may differ by 1e-4.\n\n" + table + "\n"
        )
    print(table)


if __name__ == "__main__":
    main()
