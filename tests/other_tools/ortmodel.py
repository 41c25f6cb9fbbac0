"""optimum's ORTModel classes on edgexf's bundles: one head of each family that transformers 4.57 knows.

    python tests/other_tools/ortmodel.py ENVIRONMENT                  all of them; writes results/ortmodel.md
    python tests/other_tools/ortmodel.py ENVIRONMENT --only Bert,ViT  some families; prints the table only

optimum-onnx needs transformers below 4.58, so its classes run in ENVIRONMENT, a virtual environment that this script
makes where it is missing. In: checkpoints with random weights. Out: a table of the class that loads each bundle, and the
largest difference from the eager model of the transformers that exported it, on the real tokens, relative to the largest
value. `--folder` keeps the bundles, and takes those that are there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import click
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from other_tools.bundles import TOLERANCE, arrays, difference, prepare, split

from edgexf.errors import EdgexfError
from edgexf.report.markdown import markdown_table

PACKAGES = ("optimum-onnx[onnxruntime]==0.1.0", "transformers==4.57.*", "torch==2.13.0")
RESULT = Path(__file__).parents[1] / "benchmarks" / "results" / "ortmodel.md"
CHILD = Path(__file__).with_name("ortmodel_child.py")
GRAPH = "model.onnx"
ANY = "ORTModelForCustomTasks"  # the class that passes on every input that the graph declares

LOADERS = {
    "Model": "ORTModelForFeatureExtraction", "LMHeadModel": "ORTModelForCausalLM", "ForConditionalGeneration": ANY,
}  # fmt: skip
CLASSES = (
    "BertForQuestionAnswering", "RobertaForTokenClassification", "DistilBertForQuestionAnswering", "AlbertForMaskedLM",
    "ElectraForMultipleChoice", "MPNetModel", "XLMRobertaForSequenceClassification", "CamembertForTokenClassification",
    "EsmForMaskedLM", "LongformerForSequenceClassification", "BigBirdForQuestionAnswering",
    "ReformerForSequenceClassification", "NystromformerForMaskedLM", "FunnelForTokenClassification",
    "ModernBertForSequenceClassification", "DebertaForTokenClassification", "DebertaV2ForSequenceClassification",
    "SqueezeBertForSequenceClassification", "MobileBertForQuestionAnswering", "RoFormerForTokenClassification",
    "XLMForSequenceClassification", "RemBertForSequenceClassification", "ErnieForMaskedLM",
    "MegatronBertForSequenceClassification", "GPT2LMHeadModel", "OPTForCausalLM",
    "LlamaForCausalLM", "BartForQuestionAnswering", "MBartForQuestionAnswering", "LEDForConditionalGeneration",
    "BigBirdPegasusForConditionalGeneration", "ViTForImageClassification", "DeiTForImageClassification",
    "SwinForImageClassification", "ConvNextForImageClassification", "EfficientNetForImageClassification",
    "MobileNetV2ForImageClassification", "ResNetForImageClassification", "BeitForImageClassification",
    "Dinov2ForImageClassification", "RegNetForImageClassification", "SegformerForImageClassification",
    "LevitForImageClassification",
)  # fmt: skip
NOTES = """
- A class of a head passes on `input_ids`, `attention_mask` and `token_type_ids`, or `pixel_values`. A graph of Longformer also
  takes `global_attention_mask`, as the export of optimum-onnx for this family does, so only `ORTModelForCustomTasks` runs it.
- The heads of BART and mBART take `decoder_input_ids` in a bundle, which every caller gives, of `session.run` too. The class of
  the head passes none on, so `ORTModelForCustomTasks` runs them.
- `ORTModelForSeq2SeqLM` wants an encoder and a decoder with a cache in files of their own. The graph of a bundle computes
  both at once without a cache, so `ORTModelForCustomTasks` runs it.
- `ORTModelForCausalLM` is loaded with `use_cache=False`, since the graph has no cache.
- The reference models have model types that transformers does not know, and no ORTModel class loads a type that it does not
  know. onnxruntime runs them.
"""
Row = tuple[str, str, str, str]


def loader_of(name: str) -> str:
    head = split(name)[1]
    return LOADERS.get(head, f"ORTModel{head}")


def made(name: str, folder: Path) -> str:
    """Makes the bundle of a class where it is not there. Returns the error of a refused export, else ""."""
    if (folder / "expected.npz").exists():
        return ""
    try:
        prepare(name, folder)
    except EdgexfError as error:
        return f"no bundle: {error}"
    return ""


def ran(environment: Path, jobs: list[dict[str, str]], folder: Path) -> dict[str, str]:
    """Runs the jobs in the other environment. Returns the error of each by its folder, "" for an answer."""
    listing = folder / "jobs.json"
    listing.write_text(json.dumps(jobs))
    command = [environment / "bin" / "python", CHILD, listing]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(found) != len(jobs):
        raise RuntimeError(f"each job must be answered, got {len(found)} of {len(jobs)}: {done.stderr[-2000:]}")
    return {one["folder"]: one["error"] for one in found}


def rows_of(environment: Path, chosen: list[str], folder: Path) -> Iterator[Row]:
    """Yields the rows of the classes: by the class of the head first, and by `ANY` where that refuses."""
    refused = {name: made(name, folder / name) for name in chosen}
    waiting = [(name, loader_of(name)) for name in chosen if not refused[name]]
    yield from ((name, "-", "-", told) for name, told in refused.items() if told)
    while waiting:
        jobs = [{"folder": str(folder / name), "loader": loader, "file": GRAPH} for name, loader in waiting]
        errors = ran(environment, jobs, folder)
        again = []
        for name, loader in waiting:
            error = errors[str(folder / name)]
            yield name, loader, "-" if error else worst_of(folder / name), error.partition("\n")[0][:160]
            if error and loader != ANY:
                again.append((name, ANY))
        waiting = again


def worst_of(folder: Path) -> str:
    worst = difference(arrays(folder / "ortmodel.npz"), arrays(folder / "expected.npz"), arrays(folder / "inputs.npz"))
    return f"{worst:.1e}{'' if worst <= TOLERANCE else ' DIFFERS'}"


def make_environment(environment: Path) -> None:
    if not (environment / "bin" / "optimum-cli").exists():
        venv.create(environment, with_pip=True)
        subprocess.run([environment / "bin" / "pip", "install", "--quiet", *PACKAGES], check=True)


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "an unknown processor")


@click.command()
@click.argument("environment", type=click.Path(file_okay=False, path_type=Path))
@click.option("--only", help="Families, separated by commas.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where the bundles stay.")
def main(environment: Path, only: str | None, folder: Path | None) -> None:
    """Load the bundles by ORTModel classes, compare, and print a Markdown table."""
    transformers.logging.set_verbosity_error()
    make_environment(environment)
    chosen = [name for name in CLASSES if only is None or split(name)[0] in only.split(",")]
    with tempfile.TemporaryDirectory(prefix="edgexf-") as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        rows = sorted(rows_of(environment, chosen, place), key=lambda row: (chosen.index(row[0]), row[1] == ANY))
    answered = {name for name, _, worst, _ in rows if worst != "-" and "DIFFERS" not in worst}
    header = ("model", "class", "worst difference", "what it said")
    text = (
        f"{len(answered)} of {len(chosen)} bundles answer within {TOLERANCE:g} of the eager model, on {processor()}. "
        f"{', '.join(PACKAGES)}.\n\n{markdown_table(header, rows)}\n{NOTES}"
    )
    click.echo(text)
    if only is None:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
