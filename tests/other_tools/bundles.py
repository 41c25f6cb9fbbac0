"""Bundles for tools that are not edgexf: one head of each family, with inputs and the eager model's answers.

In: the name of a class of transformers. Out: in a folder, `checkpoint`, `bundle`, `inputs.npz` and `expected.npz`. The
expected arrays come from the untouched eager model, loaded afresh from the checkpoint. Weights are random, and larger
than the library draws them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from benchmarks.census import small_model
from families import small
from image_families import SIZES, small_image_model

import edgexf
from edgexf import bundle, names
from edgexf.bundle.manifest import Manifest
from edgexf_exporters.answers import named_outputs

Arrays = dict[str, npt.NDArray[Any]]
TOLERANCE = 1e-4  # of an output's largest value: the contract's
HEADS = (
    "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice", "ForMaskedLM",
    "ForCausalLM", "LMHeadModel", "ForImageClassification", "ForConditionalGeneration", "Model",
)  # fmt: skip
LENGTH, CHOICES, LEAST_ID = 24, 2, 5
REFORMER = {"hash_seed": 0, "num_buckets": 4}  # otherwise each call of the eager model draws other hashes
NYSTROM_LENGTH = 48  # the only length that the eager model answers, in one row without padding
LOWERED = (
    "Bert", "DistilBert", "Roberta", "XLMRoberta", "Camembert", "MPNet", "Esm", "Longformer", "LED", "BigBird",
    "BigBirdPegasus", "Nystromformer", "Reformer", "Funnel", "ModernBert", "LongT5",
)  # fmt: skip


def split(name: str) -> tuple[str, str]:
    """The family and the head of a class: ``("Bert", "ForMaskedLM")``."""
    head = next(head for head in HEADS if name.endswith(head))
    return name.removesuffix(head), head


def save_checkpoint(name: str, folder: Path) -> None:
    """Saves a small model of the class `name`."""
    family, head = split(name)
    if family in SIZES:
        small_image_model(family, head).save_pretrained(folder)
    elif family in LOWERED:
        small(family, head, 2, **(REFORMER if family == "Reformer" else {})).save_pretrained(folder)
    else:
        cls = getattr(transformers, name)
        small_model(cls.config_class.model_type, cls, folder, noise=0.1)


def draw(manifest: Manifest, whole: bool = False, seed: int = 0) -> Arrays:
    """Draws inputs of a bundle by their declared shapes: two rows, the last one padded on the right where a mask is taken.
    `whole` draws one row of `NYSTROM_LENGTH` tokens without padding.
    """
    chance = np.random.default_rng(seed)
    rows, length = (1, NYSTROM_LENGTH) if whole else (2, min(LENGTH, manifest.limits.max_length))
    sizes = {names.BATCH: rows, names.CHOICES: CHOICES, names.SEQUENCE: length, names.DECODER_SEQUENCE: 7}
    found: Arrays = {}
    for tensor in manifest.variants[0].inputs:
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in tensor.shape)
        found[tensor.name] = values(tensor.name, shape, manifest, chance)
    if names.ATTENTION_MASK in found and rows > 1:
        found[names.ATTENTION_MASK][-1, ..., length // 2 :] = 0
    return found


def values(name: str, shape: tuple[int, ...], manifest: Manifest, chance: np.random.Generator) -> npt.NDArray[Any]:
    if name == names.ATTENTION_MASK:
        return np.ones(shape, np.int64)
    if name == names.GLOBAL_ATTENTION_MASK:
        return (np.arange(shape[-1]) == 0).astype(np.int64) * np.ones(shape, np.int64)
    if name == "pixel_values":
        return chance.standard_normal(shape).astype(np.float32)
    limits = manifest.limits
    usual = {names.TOKEN_TYPE_IDS: limits.token_types}.get(name, limits.vocab)
    below = manifest.signature.below[name] if manifest.signature is not None else usual
    return chance.integers(0 if below <= LEAST_ID else LEAST_ID, below, shape)


def eager_answers(name: str, checkpoint: Path, inputs: Arrays, wanted: tuple[str, ...]) -> Arrays:
    model = getattr(transformers, name).from_pretrained(checkpoint, dtype=torch.float32).eval()
    with torch.no_grad():
        found = named_outputs(model(**{key: torch.from_numpy(value) for key, value in inputs.items()}))
    return {key: found[key].numpy() for key in wanted}


def prepare(name: str, folder: Path, explain: tuple[str, ...] | None = ()) -> Manifest:
    """Makes the four parts in `folder`, by default without an explanation. EdgexfError where the export refuses."""
    save_checkpoint(name, folder / "checkpoint")
    edgexf.export(folder / "checkpoint", output=folder / "bundle", explain=explain)
    manifest = bundle.read(folder / "bundle")
    inputs = draw(manifest, whole=split(name)[0] == "Nystromformer")
    outputs = tuple(tensor.name for tensor in manifest.variants[0].outputs)
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "expected.npz", **eager_answers(name, folder / "checkpoint", inputs, outputs))
    return manifest


def arrays(path: Path) -> Arrays:
    with np.load(path) as stored:
        return dict(stored)


def difference(found: Mapping[str, npt.NDArray[Any]], expected: Arrays, inputs: Arrays) -> float:
    """The largest difference of any expected output on the real tokens, relative to the output's largest value."""
    mask = inputs.get(names.ATTENTION_MASK)
    worst = 0.0
    for name, wanted in expected.items():
        got = found[name]
        if got.shape != wanted.shape or not np.isfinite(got).all():
            return float("inf")
        if mask is not None and wanted.shape[: mask.ndim] == mask.shape:
            got, wanted = got[mask > 0], wanted[mask > 0]
        worst = max(worst, float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-30)))
    return worst
