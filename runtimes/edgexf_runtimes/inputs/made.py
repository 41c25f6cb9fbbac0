"""Makes inputs of a wanted length, for measurements and to warm up.

In: a bundle and a length: in bytes for a model of bytes, with a class token before them, and in tokens for other models.
Out: the inputs of its graphs, of one row, the same in each call. Latency does not depend on their values, nor on which
tokens are global.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.formula import size_of
from edgexf.bundle.golden import read
from edgexf.bundle.manifest import Manifest
from edgexf.bundle.preprocess import Bytes
from edgexf.bundle.signature import Signature
from edgexf.checks import each
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.inputs.convert import is_whole
from edgexf_runtimes.inputs.preprocess import Raw, Tokens, encode

Array = npt.NDArray[Any]
CHOICES = 2
PATH_STEPS = 8  # of integrated gradients


def inputs(folder: Path, manifest: Manifest, length: int) -> dict[str, Array]:
    """Inputs of the predict graph, int64 [1, tokens].

    A multiple-choice model gets two choices. A decoder gets as many tokens as it may write, up to the input's length. A
    custom module gets the inputs of `own`.
    """
    if manifest.signature is not None:
        return own(manifest, manifest.signature, next(iter(read(folder / names.GOLDEN_FILE).values())), length)
    ids = random_ids(manifest, length)
    made = {names.INPUT_IDS: ids}
    if manifest.globals is not None:
        made[names.GLOBAL_ATTENTION_MASK] = (np.arange(ids.shape[1]) == 0).astype(np.int64)[None]
    if names.CHOICES in manifest.variants[0].inputs[0].shape:
        made = {name: np.repeat(array[:, None], CHOICES, axis=1) for name, array in made.items()}
    return written(manifest, made)


def written(manifest: Manifest, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Inputs with what a decoder has written, if it is not there: as many of the first tokens as it may write."""
    if manifest.decoder is None or names.DECODER_INPUT_IDS in inputs:
        return dict(inputs)
    return {**inputs, names.DECODER_INPUT_IDS: inputs[names.INPUT_IDS][:, : manifest.decoder.max_length]}


def own(manifest: Manifest, signature: Signature, cell: Mapping[str, Array], length: int) -> dict[str, Array]:
    """Inputs of a custom module from others, such as golden ones, so that the values are of a kind that the module knows.

    They hold one sample, or as few as the module takes. All other axes are cut or repeated to `length`, or to the largest
    size that the module takes.
    """
    sizes = {}
    for axis in signature.axes:
        most = axis.most // axis.step * axis.step
        sizes[axis.name] = max(axis.least, 1) if axis.name == signature.samples else min(length, most)
    found = {}
    for tensor in manifest.variants[0].inputs:
        array = cell[tensor.name]
        for place, size in enumerate(tensor.shape):
            if isinstance(size, str):
                array = array.take(np.arange(size_of(size, sizes)), axis=place, mode="wrap")
        if tensor.name in signature.within:
            array = np.full_like(array, signature.within[tensor.name].most(sizes))
        found[tensor.name] = array
    return found


def random_ids(manifest: Manifest, length: int) -> Tokens:
    if not isinstance(manifest.preprocess, Bytes):
        return np.random.default_rng(length).integers(0, manifest.limits.vocab, (1, length))
    return encode(Raw("", random_bytes(length), False), manifest.preprocess).ids[None]


def random_bytes(length: int) -> bytes:
    """Those behind the class token of `random_ids`."""
    return np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()


def explained(manifest: Manifest, method: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs of the explain graph of a method. It explains what the model predicts, at the first position if there
    are several.
    """
    first = manifest.variants[0].inputs[0]
    ids = inputs[first.name]
    sizes = dict(zip(first.shape, ids.shape, strict=True))
    given = {}
    for target in manifest.targets(method):
        if target.name == names.POSITION:
            given[target.name] = np.zeros([sizes[axis] for axis in target.shape], dtype=np.int64)
        elif target.name == names.BASELINE:
            given[target.name] = ids
        elif target.name == names.PATH:
            given[target.name] = ((np.arange(PATH_STEPS) + 0.5) / PATH_STEPS).astype(np.float32)
    return {**inputs, **given}


def longest(manifest: Manifest) -> int:
    """The greatest length."""
    return manifest.preprocess.max_bytes if isinstance(manifest.preprocess, Bytes) else manifest.limits.max_length


def shortest(manifest: Manifest) -> int:
    """The smallest length."""
    if manifest.signature is not None:
        return 1
    least = manifest.limits.min_length - (1 if isinstance(manifest.preprocess, Bytes) else 0)  # the class token
    return max(least, 1)


def ascending(manifest: Manifest, wanted: Iterable[int]) -> list[int]:
    """The lengths in `wanted`, smallest first, without repeats. Raises UsageError for one that the model does not take."""
    listed = each(wanted)
    if listed is None:
        raise UsageError(f"lengths must be a list of numbers, got {quoted(wanted)}; write [{quoted(wanted)}].")
    least, most, lengths = shortest(manifest), longest(manifest), list(listed)
    wrong = [length for length in lengths if not (is_whole(length) and least <= length <= most)]
    if wrong:
        raise UsageError(
            f"lengths must be the bundle's {least} to {most}, got {', '.join(map(quoted, wrong))}; leave it out."
        )
    return sorted(set(map(int, lengths)))
