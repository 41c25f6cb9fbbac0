"""From a model to a verified bundle, and from a bundle to a verdict: the only module that sees both sides.

    export: specification and weights -> graphs -> passes -> contract grid -> bundle on disk
    verify: bundle on disk -> hashes, contract, golden outputs on this device

It composes and decides nothing that a module below decides.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf import bundle, names
from edgexf.bundle.folder import Bundle
from edgexf.errors import ExportError, UsageError, VerificationError
from edgexf.extras import require_packages
from edgexf.pipeline.card import card
from edgexf.pipeline.describe_bundle import explain_files, make_manifest
from edgexf_exporters.sources.choose import choose_factory, choose_model, choose_module, choose_reference

if TYPE_CHECKING:
    from torch import nn

    from edgexf_exporters.graphs import Graphs
    from edgexf_exporters.source import Source
    from edgexf_exporters.verify.grid import GridResult

OPSETS = range(20, 24)
GOLDEN_BYTES = 1_000_000
JS_CONFIG = {"dtype": "fp32", "use_external_data_format": True}  # what transformers.js must know of a bundle
Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Progress that nobody watches."""


def export(
    source: nn.Module | str | os.PathLike[str] | None = None,
    *,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    module: str | None = None,
    variant: str | None = None,
    task: str | None = None,
    max_global: int | None = None,
    tokenizer: Any = None,
    output: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    sizes: Mapping[str, int] | None = None,
    explain: str | Sequence[str] | None = None,
    grid: str = "quick",
    opset: int = 20,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Exports a model and verifies it; nothing is written unless every check passes.

    `source` is a folder that `save_pretrained` wrote, the id of a model on the Hugging Face hub, a model of
    transformers in memory, or an encoder of `edgexf.models`; `task` and `max_global`, the most global tokens a
    row may have, go with it, and for a model in memory its `tokenizer` of transformers. Any other `torch.nn.Module` goes
    with `example_inputs`, a tuple of tensors in the order of its ``forward`` or a dictionary by name: every axis of an
    integer input varies, axes of equal size together; `dynamic_shapes`, as of `torch.export`, says otherwise. `module` names what builds one, as
    ``package.module:factory``, whose weights those of `weights` may replace; see `edgexf_exporters.sources.factory`. Without these `variant` names a
    reference model, with the trained weights or those of `weights`, a safetensors file, and `sizes` (such as
    ``layers``) where that file carries no specification.
    `output` defaults to ``./<name>-bundle``. `explain` names the methods to compile (``attnlrp``, ``cplrp``, ``gradient``,
    ``integrated-gradients``), none for ``()``; by default AttnLRP, where every operator of the model has a rule. Raises UsageError for a wrong choice, ExportError
    where the model does not trace or the weights do not fit, VerificationError where a graph differs.
    """
    require_packages("export", "torch", "onnx", "onnx_ir", "onnxscript", "safetensors")
    from edgexf_exporters import graphs
    from edgexf_exporters.source import frozen
    from edgexf_exporters.verify.cells import check_grid

    check_grid(grid)
    if opset not in OPSETS:
        raise UsageError(
            f"opset must be {OPSETS.start} to {OPSETS.stop - 1}, got {opset}; leave it out for {OPSETS.start}."
        )
    if module is not None:
        if any(given is not None for given in (source, variant, task, max_global, tokenizer, sizes or None)):
            raise UsageError("a module brings its own attention, sizes and task, got others beside it; leave them out.")
        chosen = choose_factory(module, weights, example_inputs, dynamic_shapes)
    elif source is None:
        if any(given is not None for given in (task, max_global, tokenizer, example_inputs, dynamic_shapes)):
            raise UsageError(
                "task, max_global, tokenizer, example_inputs and dynamic_shapes belong to a model, got one without it; leave it out."
            )
        chosen = choose_reference(variant, weights, sizes or {})
    elif variant is not None or weights is not None or sizes:
        raise UsageError("a model brings its own attention, weights and sizes, got others beside it; leave them out.")
    elif example_inputs is not None or dynamic_shapes is not None:
        chosen = choose_module(source, example_inputs, dynamic_shapes, (task, max_global, tokenizer))
    else:
        chosen = choose_model(source, task, max_global, tokenizer)
    methods = methods_for(chosen, explain)
    target = Path(output) if output is not None else Path(f"{chosen.name}-bundle")
    bundle.check_target(target, overwrite)
    with chosen.quiet(), frozen(chosen.module):
        progress("tracing and translating")
        made = graphs.make(chosen, methods, opset, asked=explain is not None)
        progress("verifying against the eager model")
        made, files, result, golden = verified(chosen, made, grid, asked=explain is not None)
    if result.failures:
        raise VerificationError(
            f"a graph must agree with its model within {result.tolerance:g} on the {grid} grid, got "
            f"{len(result.failures)} failures ({'; '.join(result.failures[:3])}); no bundle was written.",
            result.to_dict(),
        )
    progress("writing")
    extra = {
        **chosen.files,
        names.CONFIG_FILE: json_bytes({**chosen.config, names.JS_CONFIG: JS_CONFIG}),
        names.GOLDEN_FILE: golden,
        names.CARD_FILE: card(chosen, result).encode(),
    }
    path = bundle.write(target, {**files, **extra}, make_manifest(chosen, made, result, opset), overwrite)
    return Bundle(path, bundle.read(path))


def methods_for(source: Source, explain: str | Sequence[str] | None) -> tuple[str, ...]:
    """The methods to compile; where none is named, the first that there is, for a model that it can explain."""
    if explain is None:
        from edgexf_exporters.explain.methods import METHODS

        return (next(iter(METHODS)),) if source.target is not None else ()
    return (explain,) if isinstance(explain, str) else tuple(explain)


def graph_files(source: Source, made: Graphs) -> dict[str, bytes]:
    """The graphs after the passes, by their path in the bundle, with one file of weights."""
    import onnx_ir as ir

    from edgexf.passes import PIPELINES
    from edgexf.passes.canonical_weights import canonical_weights
    from edgexf.passes.edges import Edges
    from edgexf.passes.share import share_weights

    protos = {names.PREDICT_FILE: made.predict}
    protos |= {path: made.explain[method] for method, path in explain_files(made).items()}
    given, found = source.explained_by(path=True, weights=True)
    shapes = {tensor.name: tensor.shape for tensor in (*source.tensors, *source.outputs, *given, *found)}
    switch = source.limits.switch if made.variable_block else 0
    tidy = PIPELINES["export"](Edges(made.block, source.padding_id, shapes, switch, made.padding_mark))
    models = {path: tidy(ir.serde.deserialize_model(proto)).model for path, proto in protos.items()}
    weights = {name: weight for name, weight in source.module.named_parameters() if weight.element_size() == 4}
    canonical_weights(models, ((name, weight.detach().cpu().numpy()) for name, weight in weights.items()))
    return share_weights(models, names.WEIGHTS_FILE)


def verified(
    source: Source, made: Graphs, grid: str, asked: bool
) -> tuple[Graphs, dict[str, bytes], GridResult, bytes]:
    """The graphs, their files, the grid's result and golden.npz. An explanation that nobody `asked` for by name is left
    out where the untouched model can't be explained by its rules, and the reason is told; one that differs is a failure.
    """
    files = graph_files(source, made)
    try:
        return made, files, *verify_graphs(source, made, files, grid)
    except ExportError as error:
        if asked or not made.explain:
            raise
        made = replace(made, explain={}, unexplained=str(error))
    files = graph_files(source, made)
    return made, files, *verify_graphs(source, made, files, grid)


def verify_graphs(source: Source, made: Graphs, files: Mapping[str, bytes], grid: str) -> tuple[GridResult, bytes]:
    """The contract grid over the very bytes that will be written, and golden.npz."""
    import onnx

    from edgexf.bundle.golden import pack
    from edgexf_exporters.verify import ties
    from edgexf_exporters.verify.graph_checks import growth, quadratic_tensors, random_operators
    from edgexf_exporters.verify.grid import check_behaviour, check_uncovered, compare
    from edgexf_runtimes.device.providers import create

    variant = source.variant
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        for path, data in files.items():
            bundle.write_synced(Path(folder, path), data)
        sessions = {path: create(Path(folder, path), ("cpu",), None) for path in files if path.endswith(".onnx")}
        explain = {method: sessions[path] for method, path in explain_files(made).items()}
        predict = sessions[names.PREDICT_FILE]

        @cache
        def choosing() -> list[Any]:
            """The same graphs, which also answer their discrete choices."""
            count = len(ties.choices(onnx.load(str(Path(folder, names.PREDICT_FILE)), load_external_data=False)))
            paths = [ties.with_choices(Path(folder, path), count) for path in sessions]
            return [create(path, ("cpu",), None) for path in paths]

        asked = choosing if source.has_argmax else None
        result, references = compare(source, predict, explain, grid, made.block, variant.tolerance, asked)
        result.checks |= check_behaviour(source, made.block, [predict, *explain.values()])
        for path in sessions:
            graph = onnx.load(str(Path(folder, path)), load_external_data=False)
            result.checks[f"no random operator in {path}"] = random_operators(graph)
            if variant.subquadratic:
                found = quadratic_tensors(Path(folder, path), source.tensors, made.block, source.limits)
                if found is not None:
                    result.checks[f"nothing grows as length squared in {path}"] = found
        if source.module_inputs is not None:
            missed = check_uncovered(source, source.module_inputs, predict, made.guards, variant.tolerance)
            result.checks["sizes that the trace does not cover agree"] = missed
            result.growth = growth(Path(folder, names.PREDICT_FILE), source.module_inputs)
    # Batch 1 first, since it holds more lengths in the same bytes.
    sampled = sorted(references, key=lambda reference: reference[0].batch)
    return result, pack({cell.name: tensors for cell, tensors in sampled}, GOLDEN_BYTES)


def json_bytes(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=False).encode() + b"\n"
