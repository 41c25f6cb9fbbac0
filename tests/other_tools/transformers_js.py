"""transformers.js in Node on edgexf's bundles: one head of each family, every fp32 graph.

    python tests/other_tools/transformers_js.py PACKAGE                     all of them; writes results/transformers_js.md
    python tests/other_tools/transformers_js.py PACKAGE --only Bert,ViT     some families; prints the table only

In: checkpoints with random weights; PACKAGE, a folder into which npm installs transformers.js where it is missing. Out: a
table of the loaders that take each graph, and the largest difference from onnxruntime in Python, relative to the largest
value. `--folder` keeps the bundles, and takes those that are there.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from other_tools.browser_library import ANY, PACKAGE, Job, answers, difference, install, jobs_of
from other_tools.bundles import TOLERANCE, arrays, prepare, split
from other_tools.ortmodel import CLASSES, processor

from edgexf import names
from edgexf.errors import EdgexfError, UsageError
from edgexf.report.markdown import markdown_table

RESULT = Path(__file__).parents[1] / "benchmarks" / "results" / "transformers_js.md"
# Heads for which transformers.js has a class of its own.
LOADERS = (
    "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMaskedLM",
    "ForImageClassification", "ForCausalLM",
)  # fmt: skip
NOTES = """
- Which model types a loader takes is its own list: `Unsupported model type` is what it says of the others. `AutoModel` loads
  them as an encoder from `model.onnx`.
- A class of a head hands on the outputs of the head alone. The relevance of an explain graph comes through `AutoModel`.
- For types that it knows as decoders or as encoder-decoders, the library makes a cache or asks for the files of an encoder
  and of a decoder, which a bundle of one graph does not have.
"""
Row = tuple[str, str, str, str, str]


def loaders_of(name: str) -> list[str]:
    head = {"LMHeadModel": "ForCausalLM"}.get(split(name)[1], split(name)[1])
    return [ANY, f"{ANY}{head}"] if head in LOADERS else [ANY]


def jobs_for(name: str, folder: Path) -> list[Job]:
    """Makes the bundle of a class with its default explanation where it is not there. Returns the jobs for it."""
    if not (folder / name / "expected.npz").exists():
        prepare(name, folder / name, explain=None)
    return jobs_of(folder / name / "bundle", arrays(folder / name / "inputs.npz"), loaders_of(name))


def rows_of(name: str, folder: Path, package: Path) -> Iterator[Row]:
    try:
        jobs = jobs_for(name, folder)
    except EdgexfError as error:
        yield name, "-", "-", "-", f"no bundle: {error}"
        return
    for job, answer in zip(jobs, answers(package, jobs, folder), strict=True):
        error = answer.get("error", "")
        worst = "-" if error else f"{difference(job, answer):.1e}"
        yield name, job.loader, job.file, worst, error.removeprefix("Error: ").partition(' at "')[0][:160]


def summary(rows: list[Row]) -> str:
    """How many graphs some loader answers within the tolerance."""
    graphs = {(name, file) for name, _, file, _, _ in rows if file != "-"}
    right = {(name, file) for name, _, file, worst, _ in rows if worst != "-" and float(worst) <= TOLERANCE}
    explained = sum(file != Path(names.PREDICT_FILE).stem for _, file in graphs)
    return f"{len(right)} of {len(graphs)} graphs, {explained} of them explain graphs, answer within {TOLERANCE:g} of onnxruntime in Python"


@click.command()
@click.argument("package", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", help="Families, separated by commas.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where the bundles stay.")
def main(package: Path, only: str | None, folder: Path | None) -> None:
    """Load the bundles by transformers.js, compare, and print a Markdown table."""
    transformers.logging.set_verbosity_error()
    lacking = install(package)
    if lacking:
        raise UsageError(lacking)
    chosen = [name for name in CLASSES if only is None or split(name)[0] in only.split(",")]
    with tempfile.TemporaryDirectory(prefix="edgexf-") as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        rows = [row for name in chosen for row in rows_of(name, place, package)]
    header = ("model", "loader", "graph", "worst difference", "what it said")
    text = f"{summary(rows)}. {PACKAGE} in Node, on {processor()}.\n\n{markdown_table(header, rows)}\n{NOTES}"
    click.echo(text)
    if only is None:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
