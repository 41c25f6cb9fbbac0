"""The least, usual and largest shapes of a graph's inputs, for a provider that compiles a graph for a range of them.

In: a manifest and one of its graphs. Out: the options of the provider, such as
``input_ids:1x2,attention_mask:1x2`` for the least shapes.

TensorRT takes a range for all inputs whose size varies, or none. Without one it compiles anew for each new shape, which
takes minutes. Sizes follow from the manifest's limits. Nothing limits the rows of a batch, so that a range goes to
`MOST_ROWS` of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgexf import names
from edgexf.bundle.formula import size_of
from edgexf.bundle.manifest import Graph, Manifest
from edgexf.errors import UsageError

MOST_ROWS = 16  # rows of a run; a provider reserves the memory of the largest shapes
MOST_STEPS = 256  # of a path of integrated gradients: its default budget
Range = tuple[int, int, int]  # least, usual, largest


def ranges(manifest: Manifest) -> dict[str, Range]:
    """The range of each axis whose size varies, by name."""
    limits, signature = manifest.limits, manifest.signature
    rows = (1, 1, MOST_ROWS)
    if signature is not None:
        found = {axis.name: between(axis.least, axis.most, axis.step) for axis in signature.axes}
        if signature.samples:
            axis = signature.axis(signature.samples)
            most = max(axis.least, min(axis.most, MOST_ROWS) // axis.step * axis.step)
            found[signature.samples] = axis.least, axis.least, most
        return found | {names.STEPS: (1, 4, MOST_STEPS)}
    found = {
        names.BATCH: rows,
        names.SEQUENCE: between(limits.min_length, limits.max_length),
        names.CHOICES: (1, 2, MOST_ROWS),
        names.STEPS: (1, 4, MOST_STEPS),
    }
    if manifest.decoder is not None:
        found[names.DECODER_SEQUENCE] = between(1, manifest.decoder.max_length)
    return found


def between(least: int, most: int, step: int = 1) -> Range:
    """A range whose usual size is half way in octaves."""
    return least, max(least, int((least * most) ** 0.5) // step * step), most


def profile(pattern: str, manifest: Manifest, graph: Graph) -> Mapping[str, str]:
    """The options with the shapes of a graph's inputs. `pattern` is `Provider.shapes`.

    Raises UsageError for an axis whose range the manifest doesn't say.
    """
    varying = [tensor for tensor in graph.inputs if any(isinstance(size, str) for size in tensor.shape)]
    known = ranges(manifest)
    options = {}
    for place, which in enumerate(("min", "opt", "max")):
        sizes = {name: found[place] for name, found in known.items()}
        try:
            shapes = [
                f"{tensor.name}:{'x'.join(str(size_of(axis, sizes)) for axis in tensor.shape)}" for tensor in varying
            ]
        except KeyError as error:
            raise UsageError(
                f"a provider that compiles for a range of shapes needs a range for each axis of {graph.file}, got none for {error.args[0]}; give the options {pattern.format('min')}, {pattern.format('opt')} and {pattern.format('max')}."
            ) from error
        options[pattern.format(which)] = ",".join(shapes)
    return options if varying else {}
