"""Measures how faithful each explanation method is on each trained reference model, and what the method costs.

    python tests/benchmarks/faithfulness.py --output tests/benchmarks/results [--variant V]... [--part PART]...
        [--method M]... [--bundles FOLDER] [--again]

Part `deletion` measures the area between the deletion curves (`edgexf_runtimes.measure.faithfulness`). Its inputs are
the first `BYTES` bytes of each crop of the shipped evaluation set. The results have 95 % bootstrap intervals, and
paired differences against gradient x input and against a random order. The crops are sorted so that the labels take
turns. A method that is too slow for all crops is measured on the first `FEWER`.

Part `cost` measures, at `LENGTHS` bytes, the time of each explain graph divided by the time of the predict graph.
Integrated gradients counts for each point of its path. Captum's gradient x input on the eager model is measured in the
same process, and LIME at its default budget. The figures are medians of the ratios of neighbouring runs, for LIME one
run.

Results that faithfulness.json in the output folder already holds are not measured again, unless `--again` and the other
options select them. The script writes this file and faithfulness.md after each method of a variant, so that a stopped
run can continue.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.progress import track

import edgexf
from edgexf import names
from edgexf.models.weights import load, shipped
from edgexf.report.markdown import markdown_table
from edgexf.spec import CLASS_ID, LABELS
from edgexf_exporters import VARIANTS
from edgexf_exporters.explain.methods import METHODS
from edgexf_runtimes import Session
from edgexf_runtimes.device.session_options import available_threads
from edgexf_runtimes.explain import integrated_gradients
from edgexf_runtimes.explain.graph import run_explain
from edgexf_runtimes.explain.methods import METHODS as AT_RUN_TIME
from edgexf_runtimes.explain.methods import PATH_METHOD
from edgexf_runtimes.inputs.labelled import Labelled, read_labelled
from edgexf_runtimes.measure.faithfulness import RANDOM, STEPS, Faithfulness, Measured, measure_one, subject

sys.path.insert(0, str(Path(__file__).parents[1]))
from small import DATA, NAMES

BYTES = 1024
FEWER = 20  # one crop of each label
SLOW = (PATH_METHOD, *(method.name for method in AT_RUN_TIME))  # these methods need hundreds of predictions
SEED = 0
LENGTHS = (512, 4096)  # bytes
RUNS, WARM_UP = 15, 2
PATH_STEPS = 32
PARTS = ("deletion", "cost")
AGAINST = ("gradient", RANDOM)
Results = dict[str, dict[str, dict[str, Any]]]
Keep = Callable[[str, str, str, Any], None]


def inputs() -> list[Labelled]:
    """Returns the beginning of each crop, with the labels in turn."""
    rows = read_labelled(DATA / "evaluation.jsonl", LABELS)
    files = sorted((Path(str(row.source)) for row in rows), key=lambda path: path.stem.rpartition("-")[::-1])
    return [Labelled(path.read_bytes()[:BYTES]) for path in files]


@contextmanager
def opened(name: str, bundles: Path) -> Iterator[Session]:
    """Opens the variant's bundle with every method that compiles for it. Exports the bundle if it is missing."""
    path, (variant,) = bundles / name, (variant for variant in VARIANTS if variant.name == name)
    if not path.exists():
        chosen = tuple(method.name for method in METHODS.values() if variant.mixing or not method.attends)
        edgexf.export(variant=name, output=path, explain=chosen)
    with edgexf.load(path) as session:
        yield session


def deletion(session: Session, method: str, given: Sequence[Labelled]) -> dict[str, Any]:
    """Measures one method on the inputs and returns the result as JSON values."""
    replacement = session.baseline()
    if method in session.manifest.methods:
        session.explain(given[0].source, method=method)  # opens the graph, which is no part of the cost
    curves = []
    for index, one in enumerate(track(given, description=f"{session.manifest.name} {method}")):
        about = subject(session, one, replacement.token_id, "logit")
        curves.append(measure_one(about, method, STEPS, np.random.default_rng((SEED, index))))
    return {**asdict(Measured.of(curves)), "baseline": replacement.name}


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def captum_gradient(name: str, ids: torch.Tensor) -> Callable[[], object]:
    """Returns a call of captum's gradient x input on the eager model: predicted label, from the token embeddings."""
    from captum.attr import InputXGradient

    encoder = load(shipped(name)).requires_grad_(False)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        label = int(encoder(ids, mask).argmax())
    attribution = InputXGradient(lambda embeddings: encoder.classify(embeddings, mask))

    def run() -> object:
        embeddings = encoder.tokens(ids).requires_grad_(True)
        return attribution.attribute(embeddings, target=label).sum(-1)

    return run


def cost(session: Session, name: str, length: int) -> dict[str, float]:
    """Returns the milliseconds of a prediction, and the times of captum and each compiled method divided by that time.

    Integrated gradients counts for each point of a path of `PATH_STEPS` points.
    """
    data = np.random.default_rng(0).bytes(length)
    array = session.encode([data])[names.INPUT_IDS]
    contestants: dict[str, Callable[[], object]] = {"predict": lambda: session.run(input_ids=array)}
    baseline = np.where(array < CLASS_ID, session.baseline().token_id, array)
    midpoints = (np.arange(PATH_STEPS) + 0.5) / PATH_STEPS
    for method in session.manifest.methods:
        if method == PATH_METHOD:
            graph = partial(run_explain, session, method)
            path = integrated_gradients.Path(graph, {names.INPUT_IDS: array, names.BASELINE: baseline})
            contestants[method] = partial(path.at, midpoints)
        else:
            contestants[method] = partial(session.run_explain, input_ids=array, method=method)
    contestants["captum"] = captum_gradient(name, torch.from_numpy(array))
    for run in list(contestants.values()) * WARM_UP:
        run()
    times = [{who: seconds(run) for who, run in contestants.items()} for _ in range(RUNS)]
    ratios = {who: statistics.median(row[who] / row["predict"] for row in times) for who in contestants}
    if length == LENGTHS[0]:  # at its default budget, which takes minutes on the longer input
        ratios["lime"] = seconds(partial(session.explain, data, method="lime")) / statistics.median(
            row["predict"] for row in times
        )
    found = {
        who: ratio / (PATH_STEPS if who == PATH_METHOD else 1) for who, ratio in ratios.items() if who != "predict"
    }
    return {"predict ms": statistics.median(row["predict"] for row in times) * 1e3, **found}


def tables(found: Results) -> str:
    """Returns the results as Markdown."""
    parts = [
        (
            f"# Faithfulness\n\nArea between the deletion curves (LeRF - MoRF, in logits) of the first {BYTES:,} bytes of the "
            f"shipped crops, {STEPS} steps; mean [95 % bootstrap interval]. Tokens left out become the bundle's baseline. The "
            "differences are paired; cost is in predictions of the same input.\n"
        )
    ]
    measured = {name: found["deletion"][name] for name in NAMES if name in found["deletion"]}
    whole = {
        name: {method: row for method, row in rows.items() if len(row["areas"]) > FEWER}
        for name, rows in measured.items()
    }
    first = {
        name: {method: {**row, "areas": row["areas"][:FEWER]} for method, row in rows.items()}
        for name, rows in measured.items()
    }
    parts.append(f"\n## Areas side by side\n\n{overview(results_of(whole))}")
    parts.append(f"\n## Areas of every method on the first {FEWER} inputs\n\n{overview(results_of(first))}")
    for result in results_of(measured):
        parts.append(f"\n## {result.model}, baseline {result.baseline}\n\n{result.to_markdown(AGAINST)}")
    if found["cost"]:
        parts.append(f"\n# Cost\n\n{cost_table(found['cost'])}")
    return "".join(parts)


def results_of(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Faithfulness]:
    results = []
    for name, rows in found.items():
        baseline = {row["baseline"] for row in rows.values()}
        methods = {
            method: Measured(**{part: value for part, value in row.items() if part != "baseline"})
            for method, row in rows.items()
        }
        results.append(Faithfulness(name, "logit", ", ".join(baseline), SEED, None, methods))
    return results


def overview(results: Sequence[Faithfulness]) -> str:
    """Returns a table with a row for each method and a column for each variant.

    A dash stands for a method that has no graph or was not measured.
    """
    methods = list(dict.fromkeys(method for result in results for method in result.methods))

    def area(result: Faithfulness, method: str) -> float:
        return result.area(method).mean if method in result.methods else 0.0

    def cell(result: Faithfulness, method: str) -> str:
        if method not in result.methods:
            return "-"
        found = result.area(method)
        return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"

    ranked = sorted(methods, key=lambda method: -sum(area(result, method) for result in results))
    counts = {
        method: {len(result.methods[method].areas) for result in results if method in result.methods}
        for method in methods
    }
    rows = [
        (method, ", ".join(map(str, sorted(counts[method]))), *(cell(result, method) for result in results))
        for method in ranked
    ]
    return markdown_table(("method", "inputs", *(result.model for result in results)), rows)


def cost_table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Returns a table of time ratios: explain / predict, and captum on the eager model / the graph of its method."""
    rows = [(name, length, row) for name in NAMES for length, row in found.get(name, {}).items()]
    methods = list(dict.fromkeys(who for *_, row in rows for who in row if who not in ("predict ms", "captum")))
    header = ("variant", "bytes", "predict ms", *(f"{method} / predict" for method in methods), "captum / gradient")
    cells = [
        (
            name,
            f"{int(length):,}",
            f"{row['predict ms']:.1f}",
            *(f"{row[method]:.2f}" if method in row else "-" for method in methods),
            f"{row['captum'] / row['gradient']:.2f}" if "gradient" in row else "-",
        )
        for name, length, row in rows
    ]
    text = f"Batch 1, {available_threads()} threads, {RUNS} interleaved runs, medians of the ratios; integrated gradients for each of {PATH_STEPS} points.\n\n"
    return text + markdown_table(header, cells)


def measure_variant(
    name: str, parts: Sequence[str], methods: Sequence[str], bundles: Path, found: Results, keep: Keep
) -> None:
    """Measures the results of a variant that are still missing."""
    with opened(name, bundles) as session:
        if "deletion" in parts:
            given = inputs()
            compiled = session.manifest.methods
            have = (RANDOM, *(method for method in compiled if method not in SLOW), *SLOW)
            for method in [method for method in have if not methods or method in methods]:
                if method not in found["deletion"].get(name, {}):
                    keep(
                        "deletion", name, method, deletion(session, method, given[:FEWER] if method in SLOW else given)
                    )
        if "cost" in parts:
            for length in LENGTHS:
                if str(length) not in found["cost"].get(name, {}):
                    keep("cost", name, str(length), cost(session, name, length))


@click.command()
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the results."
)
@click.option("--variant", multiple=True, type=click.Choice(NAMES), help="By default all four.")
@click.option("--part", multiple=True, type=click.Choice(PARTS), help="By default both.")
@click.option("--method", multiple=True, help="Of the part deletion; by default all, and the random order.")
@click.option(
    "--bundles", type=click.Path(file_okay=False, path_type=Path), help="Bundles to use, or to write and keep."
)
@click.option("--again", is_flag=True, help="Measure what is chosen anew, also where the file holds it.")
def main(
    output: Path, variant: tuple[str, ...], part: tuple[str, ...], method: tuple[str, ...], bundles: Path | None, again: bool
) -> None:  # fmt: skip
    """Measure what faithfulness.json lacks, and write it and faithfulness.md after each row."""
    torch.set_num_threads(available_threads())
    file = output / "faithfulness.json"

    def kept() -> Results:
        """Reads the results again from the file, because another run may have added rows in the meantime."""
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {part: {} for part in PARTS}

    def keep(of: str, name: str, row: str, value: Any) -> None:
        found = kept()
        found[of].setdefault(name, {})[row] = value
        file.write_text(json.dumps(found) + "\n", encoding="utf-8")
        (output / "faithfulness.md").write_text(tables(found), encoding="utf-8")

    found = kept()
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        for name in variant or NAMES:
            if again:
                for of in part or PARTS:
                    rows = found[of].get(name, {})
                    for row in [row for row in rows if of == "cost" or not method or row in method]:
                        del rows[row]
            measure_variant(name, part or PARTS, method, bundles or Path(folder), found, keep)


if __name__ == "__main__":
    main()
