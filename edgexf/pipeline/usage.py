"""How to run a bundle, for its README.md: Python, the command, a browser, and what the inputs mean.

In: a manifest. Out: Markdown. The code runs in the folder of the bundle as it stands there.
"""

from __future__ import annotations

import math

from edgexf import names
from edgexf.bundle.formula import size_of
from edgexf.bundle.heads import head_of
from edgexf.bundle.manifest import Manifest, Tensor
from edgexf.bundle.preprocess import Image, Text
from edgexf.bundle.signature import Axis, Signature
from edgexf.report.markdown import markdown_table

TOKENS = 8  # of an example, if the model takes so many
ARRAYS = {
    "int64": "BigInt64Array", "int32": "Int32Array", "int16": "Int16Array", "int8": "Int8Array", "uint8": "Uint8Array",
    "bool": "Uint8Array", "float32": "Float32Array", "float64": "Float64Array",
}  # fmt: skip
ZEROS = (names.TOKEN_TYPE_IDS, names.GLOBAL_ATTENTION_MASK, names.DECODER_INPUT_IDS)  # 0 is right everywhere
PADDING = {
    "invariant": "Padding behind the real tokens changes no answer: rows of any lengths may run together.",
    "none": "Padding may change an answer: run together only rows of one length.",
}


def usage(manifest: Manifest) -> str:
    """The section that shows how to run a bundle."""
    return (
        f"## Use\n\nIn this folder, with `pip install 'edgexf[cpu{extra(manifest)}]'`:\n\n"
        f"{python(manifest)}\n{command(manifest)}\nIn a browser or in Node, with the package onnxruntime-web:\n\n"
        f"{browser(manifest)}\n### Inputs\n\n{inputs(manifest)}\n### Outputs\n\n{outputs(manifest)}"
    )


def reads_text(manifest: Manifest) -> bool:
    return isinstance(manifest.preprocess, Text)


def reads_pictures(manifest: Manifest) -> bool:
    return isinstance(manifest.preprocess, Image)


def extra(manifest: Manifest) -> str:
    """The extra that a reader of text or pictures needs, with a comma before it."""
    return ",text" if reads_text(manifest) else ",image" if reads_pictures(manifest) else ""


def answers(manifest: Manifest) -> bool:
    """Whether `predict` answers a text, a file or a picture; other models take arrays."""
    return manifest.preprocess is not None and manifest.decoder is None and not choices(manifest)


def choices(manifest: Manifest) -> bool:
    return names.CHOICES in manifest.variants[0].inputs[0].shape


def pairs(manifest: Manifest) -> bool:
    """Whether the model's rule for global tokens needs a pair of texts."""
    return manifest.globals is not None and manifest.globals.rule in ("question", "answer")


def sample(manifest: Manifest) -> str:
    """An input for `predict`, in Python."""
    if pairs(manifest):
        return '("a question", "a text with its answer")'
    if reads_pictures(manifest):
        return '"picture.png"'
    return '"a text"' if reads_text(manifest) else 'b"some bytes"'


def python(manifest: Manifest) -> str:
    lines = ["import edgexf", "", 'with edgexf.load(".") as session:']
    if answers(manifest):
        head = head_of(manifest.variants[0].outputs, manifest.samples)
        part = "patch" if reads_pictures(manifest) else "token"
        why = bool(manifest.methods) and head is not None and not head.positioned
        lines += [f"    given = {sample(manifest)}", "    print(session.predict([given])[0])"]
        lines += [f"    print(session.explain(given).scores)  # the relevance of each {part}"] if why else []
    else:
        given = ", ".join(f"{one.name}={filled(manifest, one)}" for one in manifest.variants[0].inputs)
        lines[:1] = ["import edgexf", "import numpy as np"]
        lines += [f"    outputs = session.run({given})"]
        lines += ["print({name: array.shape for name, array in outputs.items()})"]
    return fenced("python", lines)


def command(manifest: Manifest) -> str:
    if not answers(manifest) or pairs(manifest):
        return fenced("sh", ["edgexf verify ."])
    given = "picture.png" if reads_pictures(manifest) else '--text "a text"' if reads_text(manifest) else "README.md"
    return fenced("sh", [f"edgexf run . {given}"])


def browser(manifest: Manifest) -> str:
    data = names.WEIGHTS_FILE.rpartition("/")[2]
    options = f', {{ externalData: [{{ path: "{data}", data: "{names.WEIGHTS_FILE}" }}] }}'
    lines = ['import * as ort from "onnxruntime-web";', ""]
    lines += [f'const session = await ort.InferenceSession.create("{names.PREDICT_FILE}"{options});']
    lines += ["const outputs = await session.run({"]
    for one in manifest.variants[0].inputs:
        sizes = shape(manifest, one)
        value = "0" if zero(manifest, one) else "1"
        number = f"{value}n" if one.dtype == "int64" else value
        lines += [
            f'  {one.name}: new ort.Tensor("{one.dtype}", new {ARRAYS[one.dtype]}({math.prod(sizes)}).fill({number}), {list(sizes)}),'
        ]
    return fenced("js", [*lines, "});", "console.log(Object.keys(outputs));"])


def fenced(language: str, lines: list[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"]) + "\n"


def zero(manifest: Manifest, tensor: Tensor) -> bool:
    """Whether an example of the input holds zeros; otherwise it holds ones."""
    below = 2 if manifest.signature is None else manifest.signature.below.get(tensor.name, 2)
    return tensor.name in ZEROS or below < 2 or ("pad" in tensor.name and "mask" in tensor.name)


def filled(manifest: Manifest, tensor: Tensor) -> str:
    """An example of an input, in numpy."""
    kind = "zeros" if zero(manifest, tensor) else "ones"
    return f'np.{kind}({shape(manifest, tensor)}, dtype="{tensor.dtype}")'


def shape(manifest: Manifest, tensor: Tensor) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else example_size(manifest, size) for size in tensor.shape)


def example_size(manifest: Manifest, axis: str) -> int:
    """A size that an axis may have, or a size that follows from such sizes."""
    if manifest.signature is not None:
        return size_of(axis, {one.name: usual_size(manifest.signature, one) for one in manifest.signature.axes})
    if axis == names.SEQUENCE:
        return max(manifest.limits.min_length, min(TOKENS, manifest.limits.max_length))
    return 2 if axis == names.CHOICES else 1


def usual_size(signature: Signature, axis: Axis) -> int:
    wanted = axis.least if axis.name == signature.samples else max(axis.least, min(TOKENS, axis.most))
    return wanted // axis.step * axis.step or axis.step


def inputs(manifest: Manifest) -> str:
    rows = [
        (one.name, one.dtype, f"[{', '.join(map(str, one.shape))}]", meaning(manifest, one))
        for one in manifest.variants[0].inputs
    ]
    if manifest.signature is None:
        limits = manifest.limits
        sizes = [f"`{names.SEQUENCE}` is {limits.min_length:,} to {limits.max_length:,}."]
        rule = PADDING.get(
            limits.padding, f"Padding changes no answer up to the next length of the rule {limits.padding}."
        )
        return markdown_table(("name", "dtype", "shape", "meaning"), rows) + "\n" + " ".join([*sizes, rule]) + "\n"
    sizes = [
        f"`{axis.name}` is {axis.least:,} to {axis.most:,}{f' in steps of {axis.step}' if axis.step > 1 else ''}."
        for axis in manifest.signature.axes
    ]
    return (
        markdown_table(("name", "dtype", "shape", "meaning"), rows)
        + "\n"
        + " ".join([*sizes, PADDING[manifest.limits.padding]])
        + "\n"
    )


def meaning(manifest: Manifest, tensor: Tensor) -> str:
    """What an input holds, and its limits."""
    if manifest.signature is not None:
        below = manifest.signature.below.get(tensor.name)
        return "as the module takes it" if below is None else f"ids, 0 to {below - 1:,}"
    limits = manifest.limits
    return {
        names.INPUT_IDS: f"token ids, 0 to {limits.vocab - 1:,}",
        names.ATTENTION_MASK: "1 at real tokens, 0 at the padding behind them",
        names.GLOBAL_ATTENTION_MASK: f"1 at tokens that attend to all, at most {limits.max_global:,} a row",
        names.TOKEN_TYPE_IDS: f"the segment of each token, 0 to {max(limits.token_types - 1, 0):,}",
        names.DECODER_INPUT_IDS: "what the decoder has written"
        + (
            ""
            if manifest.decoder is None
            else f", from {manifest.decoder.start_id} on, at most {manifest.decoder.max_length:,}"
        ),
    }[tensor.name]


def outputs(manifest: Manifest) -> str:
    rows = [(one.name, one.dtype, f"[{', '.join(map(str, one.shape))}]") for one in manifest.variants[0].outputs]
    table = markdown_table(("name", "dtype", "shape"), rows)
    return (
        table if not manifest.labels else f"{table}\nThe columns of `{names.LOGITS}` are {labels(manifest.labels)}.\n"
    )


def labels(found: tuple[str, ...]) -> str:
    listed = ", ".join(found[:TOKENS])
    return listed if len(found) <= TOKENS else f"{listed} and {len(found) - TOKENS} more, as edgexf.json lists them"
