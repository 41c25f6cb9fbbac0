"""The names of dimensions in manifests of earlier versions of edgexf.

In: a manifest as it was read. Out: the manifest with the names of today.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgexf import names


def with_new_dimensions(manifest: Any) -> Any:
    """The manifest of an earlier edgexf, with the names that dimensions have today. Its ONNX files keep the old names.

    A name stays where its new name is taken: the user of a custom module may have called another axis so.
    """
    tensors = [tensor for graph in manifest.variants for tensor in (*graph.inputs, *graph.outputs)]
    taken = {size for tensor in tensors for size in tensor.shape}
    new = {old: name for old, name in names.OLD_DIMENSIONS.items() if name not in taken}

    def renamed(old: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(replace(one, shape=tuple(new.get(str(size), size) for size in one.shape)) for one in old)

    variants = tuple(
        replace(one, inputs=renamed(one.inputs), outputs=renamed(one.outputs)) for one in manifest.variants
    )
    signature = manifest.signature
    if signature is not None:
        axes = tuple(replace(axis, name=new.get(axis.name, axis.name)) for axis in signature.axes)
        signature = replace(signature, axes=axes, samples=new.get(signature.samples, signature.samples))
    return replace(manifest, variants=variants, signature=signature)
