"""A census of transformers: one class of each model type, exported and verified, or refused with a sentence.

    python tests/benchmarks/census.py                        all types that results/census.jsonl lacks, in any order: hours
    python tests/benchmarks/census.py --sample 60 --seed 0   as many types, drawn: under 15 minutes
    python tests/benchmarks/census.py --only albert,vit      these alone, again

In: the model types of transformers. Out: a line of JSON for each in results/census.jsonl, and the table census.md. The class of
a type is its sequence classification, else its image classification, causal language model, conditional generation or base
model, else the first class of its file that takes `input_ids` or `pixel_values`. Types that take neither, such as those of
sound, are out of scope and counted so. A small random model (`small_configs`) is saved to a folder, which is exported with
`--explain none --grid quick` by a child. The child may use 60 s of a processor (time of the clock would count the work
of others on the machine), and 6 GiB.

`eager fails` means that the small model itself answers none of the inputs that edgexf makes of its signature and config: the
library refuses it, or the small config is no good one. `no inputs` are refusals of edgexf, since it can't make what a
signature asks for. What needs a package that is missing here, such as timm, counts as `eager fails`.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from small_configs import small_configs
from transformers import CONFIG_MAPPING, PreTrainedModel
from transformers.models.auto import modeling_auto

import edgexf
from edgexf.errors import EdgexfError, ExportError, said_by
from edgexf_exporters import VARIANTS

RESULTS = Path(__file__).parent / "results"
SECONDS, PATIENCE, MEMORY = 60, 10, 6 << 30  # of a processor; times as long by the clock; bytes
TAKEN = {"input_ids", "pixel_values"}
UNFED = "must answer inputs that edgexf can make"
HEADS = (
    "SEQUENCE_CLASSIFICATION", "IMAGE_CLASSIFICATION", "CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_TEXT_TO_TEXT",
)  # fmt: skip
AGREES, REFUSED, DIFFERS, NO_INPUTS, EAGER, OTHER, BROKEN, LIMIT = (
    "agrees", "refused", "differs", "no inputs", "eager fails", "out of scope", "no sentence", "over the limit",
)  # fmt: skip
Row = dict[str, Any]


def class_of(model_type: str) -> Any:
    """The class of a type that is exported; None if no class takes text or images."""
    tables = [getattr(modeling_auto, f"MODEL_FOR_{head}_MAPPING_NAMES", {}) for head in HEADS]
    tables += [modeling_auto.MODEL_MAPPING_NAMES]
    tables += [getattr(modeling_auto, name) for name in dir(modeling_auto) if name.endswith("_MAPPING_NAMES")]
    listed = [table[model_type] for table in tables if model_type in table]
    named = [one if isinstance(one, str) else one[0] for one in listed]
    return next((cls for cls in (*map(public, named), *classes_in_file(model_type)) if takes(cls)), None)


def public(name: str) -> Any:
    return getattr(transformers, name, None)


def classes_in_file(model_type: str) -> Iterator[Any]:
    """Yields the models in the file of a type that its config makes."""
    config = CONFIG_MAPPING[model_type]
    try:
        module = import_module(config.__module__.replace(".configuration_", ".modeling_"))
    except ImportError:
        return
    for found in vars(module).values():
        model = isinstance(found, type) and issubclass(found, PreTrainedModel)
        if model and found.config_class is config and not found.__name__.endswith("PreTrainedModel"):
            yield found


def takes(cls: Any) -> bool:
    try:
        return bool(TAKEN & set(inspect.signature(cls.forward).parameters))
    except (AttributeError, ImportError, TypeError):  # no such class, or a package of it is missing
        return False


def small_model(model_type: str, cls: Any, folder: Path, noise: float = 0.02) -> None:
    """Saves a small model with random weights that answers. Raises what the last config raised if none does.

    `noise` is the standard deviation of what is added to the library's own weights.
    """
    from edgexf_exporters.hooks import frozen
    from edgexf_exporters.sources.general.inputs import inputs_of

    reason: Exception = ValueError("no config")
    first: Exception | None = None
    configs = small_configs(model_type)
    while True:
        try:
            config = next(configs)
            with torch.device("meta"):
                check_small(cls(config))
            torch.manual_seed(0)
            model = cls(config).eval()
            for parameter in model.parameters():  # else gates of zeros choose among equals
                parameter.data.add_(noise * torch.randn_like(parameter))
            with frozen(model):
                inputs_of(model, PROCESSOR)
        except StopIteration:
            raise first or reason from None
        except Exception as error:  # noqa: BLE001 (a library may raise any error)
            first = first or error
            reason = error
        else:
            model.save_pretrained(folder)
            (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
            return


def check_small(model: Any) -> None:
    weights = sum(parameter.numel() for parameter in model.parameters())
    if weights > MOST_WEIGHTS:
        raise ValueError(f"a small config leaves {weights:,} weights")


MOST_WEIGHTS = 100_000_000
OPSET = 20
LOADED = ("edgexf_exporters.verify.judge", "edgexf_exporters.sources.checkpoint")  # once, for all children
PROCESSOR = {"size": {"height": 64, "width": 64}}


def outcome(model_type: str, eager: bool) -> Row:
    """Exports a model of a type, in this process."""
    cls = class_of(model_type)
    if cls is None:
        return {"outcome": OTHER}
    row = {"class": cls.__name__}
    with tempfile.TemporaryDirectory(prefix="census-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        where = Path(folder) / "model"
        try:
            small_model(model_type, cls, where)
        except ExportError as error:
            said = str(error)
            return {
                **row,
                "outcome": NO_INPUTS if " in its forward" in said or "size in its config" in said else EAGER,
                "sentence": said,
            }
        except Exception as error:  # noqa: BLE001 (a library may raise any error)
            return {**row, "outcome": EAGER, "sentence": said_by(error)}
        if eager:
            return {**row, "outcome": "eager runs"}
        try:
            manifest = edgexf.export(str(where), output=Path(folder) / "out", explain=()).manifest
        except edgexf.errors.VerificationError as error:
            return {**row, "outcome": DIFFERS, "sentence": str(error)}
        except EdgexfError as error:
            return {**row, "outcome": REFUSED, "sentence": str(error)}
        except Exception as error:  # noqa: BLE001 (what is no sentence is counted)
            return {**row, "outcome": BROKEN, "sentence": said_by(error)}
        return {**row, "outcome": AGREES, "worst": manifest.grid["worst"], "variant": manifest.provenance["variant"]}


def in_a_child(job: Callable[[], Row], seconds: int = SECONDS) -> Row:
    """The row that `job` makes in a child, which is stopped after `seconds` of a processor or at `MEMORY`."""
    start, (reader, writer) = time.monotonic(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        answer(writer, job, seconds)
    os.close(writer)
    said = b""
    while time.monotonic() - start < seconds * PATIENCE:
        ready, _, _ = select.select([reader], [], [], 1.0)
        part = os.read(reader, 1 << 16) if ready else b""
        if ready and not part:
            break
        said += part
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reader)
    os.waitpid(child, 0)
    row = json.loads(said) if said else {"outcome": LIMIT, "sentence": f"over {seconds} s or {MEMORY >> 30} GiB"}
    return {**row, "seconds": round(time.monotonic() - start, 1)}


def answer(writer: int, job: Callable[[], Row], seconds: int) -> None:
    """What the child does. It never returns."""
    used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, used + seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        row = job()
    except MemoryError:
        row = {"outcome": LIMIT, "sentence": f"over {MEMORY >> 30} GiB"}
    except BaseException as error:  # noqa: BLE001 (the parent reads the row)
        row = {"outcome": BROKEN, "sentence": said_by(error) if isinstance(error, Exception) else repr(error)}
    os.write(writer, json.dumps(row).encode())
    os._exit(0)


def read(path: Path) -> dict[str, Row]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["type"]: row for row in map(json.loads, lines)}


def table(rows: Sequence[Row]) -> str:
    """The results as Markdown."""
    counts = Counter(row["outcome"] for row in rows)
    ran = sum(counts[one] for one in (AGREES, REFUSED, DIFFERS, NO_INPUTS, BROKEN, LIMIT))
    share = f"{counts[AGREES]} of {ran} whose eager model runs ({counts[AGREES] / max(ran, 1):.0%})"
    unfed = sum(row["outcome"] == EAGER and UNFED in row["sentence"] for row in rows)
    known = {variant.name for variant in VARIANTS if variant.family == "transformers"}
    listed = sum(row.get("variant") in known for row in rows)
    head = [
        f"# Census of transformers {transformers.__version__}",
        "",
        "One class of each model type, small and with random weights. `python tests/benchmarks/census.py` makes this page.",
        f"It goes on where it stopped: {len(rows)} of {len(list(CONFIG_MAPPING))} types so far, in any order.",
        "",
        f"Exported and agrees: {share}.",
        f"Of `eager fails`, {unfed} answered none of the inputs that edgexf made: {counts[AGREES] / max(ran + unfed, 1):.0%} with them.",
        f"Before the general way these were {listed}, of the lowered families; each other one was refused by its name.",
        "",
        "| outcome | types |",
        "| --- | ---: |",
        *(
            f"| {name} | {counts[name]} |"
            for name in (AGREES, REFUSED, DIFFERS, NO_INPUTS, BROKEN, LIMIT, EAGER, OTHER)
        ),
    ]
    for name in (REFUSED, DIFFERS, NO_INPUTS, BROKEN, LIMIT, EAGER, AGREES):
        chosen = sorted((row for row in rows if row["outcome"] == name), key=lambda row: row["type"])
        head += ["", f"## {name.capitalize()}", ""] if chosen else []
        head += [f"- {row['type']} ({row.get('class', '')}): {said(row)}" for row in chosen]
    return "\n".join([*head, ""])


def said(row: Row) -> str:
    text = f"{row['worst']:.1e}" if "worst" in row else str(row.get("sentence", ""))
    return text.removeprefix(f"{row.get('class')}: ").replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="so many types, drawn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="types with commas between them; they are done again")
    parser.add_argument("--eager", action="store_true", help="only find a small config that answers")
    parser.add_argument("--again", help="outcomes with commas between them, whose types are done again")
    parser.add_argument("--output", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name in LOADED:
        import_module(name)
    import_module("edgexf_exporters.trace.prepare").decompositions(OPSET)
    path = chosen.output / "census.jsonl"
    found = read(path)
    types = sorted(CONFIG_MAPPING)
    if chosen.sample:
        scope = [one for one in types if class_of(one) is not None]
        types = sorted(random.Random(chosen.seed).sample(scope, chosen.sample))  # noqa: S311 (a sample is no secret)
    again = set(chosen.only.split(",")) if chosen.only else set()
    again |= {one for one, row in found.items() if chosen.again and row["outcome"] in chosen.again.split(",")}
    types = [one for one in types if one in again or (one not in found and not chosen.only and not chosen.again)]
    random.Random(chosen.seed).shuffle(types)  # noqa: S311 (what is done by then is a fair sample)
    for place, one in enumerate(types):
        row = {"type": one, **in_a_child(partial(outcome, one, chosen.eager))}
        found[one] = row
        print(
            f"{place + 1}/{len(types)} {one}: {row['outcome']} {row['seconds']} s {row.get('sentence', '')[:300]}",
            flush=True,
        )
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
    path.write_text("".join(json.dumps(found[one]) + "\n" for one in sorted(found)))
    (chosen.output / "census.md").write_text(table(list(found.values())))


if __name__ == "__main__":
    main()
