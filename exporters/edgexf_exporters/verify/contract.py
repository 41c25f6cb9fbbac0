"""Checks that a model of transformers keeps what its config promises, before the model is exported.

In: a source. Out: nothing, or an ExportError.
"""

from __future__ import annotations

from edgexf.errors import ExportError, in_a_sentence
from edgexf_exporters.source import Source
from edgexf_exporters.verify.compare import BROKEN_CONFIG, reference
from edgexf_exporters.verify.grid import NOMINAL_BLOCK, Cell


def check_contract(source: Source) -> None:
    """Runs the eager model on a short and a longer input.

    Raises ExportError where the model fails, or answers with other shapes than its config promises. Other sources are
    not checked: no config promises their outputs, which were read off the module itself.
    """
    if source.variant.family != "transformers":
        return
    for length in {source.limits.min_length, min(NOMINAL_BLOCK, source.limits.max_length)}:
        feeds = Cell(length, 2, "none", 1).feeds(source)
        with in_a_sentence("a model must run before it is exported", BROKEN_CONFIG):
            found = reference(source, feeds)
        sizes = {
            axis: size
            for tensor in source.tensors
            for axis, size in zip(tensor.shape, feeds[tensor.name].shape, strict=True)
        }
        for output in source.outputs:
            wanted = tuple(sizes.get(axis, axis) for axis in output.shape)
            if found[output.name].shape != wanted:
                raise ExportError(
                    f"{output.name} must have the shape that the config promises, {list(wanted)}, got {list(found[output.name].shape)}; "
                    "mend num_labels and id2label, or save the model again with its own config."
                )
