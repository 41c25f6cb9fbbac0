"""From a model to a verified bundle.

    Request -> Source -> Captured -> Graphs -> files -> Verdict -> bundle on disk

Each stage is a frozen record that one room makes: `edgexf_exporters.sources` makes the `Source`, `capture` the captured
programs, `graphs` their ONNX graphs, `edgexf.passes` the files, `verify` the `Verdict`, `edgexf.bundle` the folder.
This module passes the records on and decides nothing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf import bundle, names
from edgexf.bundle.folder import Bundle
from edgexf.bundle.graphs import PORTABLE, candidate_file
from edgexf.bundle.signature import NARROWED
from edgexf.dtypes import FP32
from edgexf.errors import ExportWarning, UsageError, VerificationError, temporary_room
from edgexf.extras import require_onnxruntime, require_packages
from edgexf.pipeline.browser_config import in_browsers
from edgexf.pipeline.card import card
from edgexf.pipeline.describe_bundle import TRACING_BRANCH, UNEXPLAINED, make_manifest, said
from edgexf.progress import Stages, no_stages
from edgexf_exporters.options import check_options
from edgexf_exporters.sources.request import Request, check_request

NO_CANDIDATES = (
    "no candidate was written: the further forms of a graph change full attention in slices, and this model has none"
)

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from edgexf.bundle.manifest import Manifest
    from edgexf_exporters.graphs import Graphs
    from edgexf_exporters.source import Source
    from edgexf_exporters.verify.judge import Verdict


def export(
    source: nn.Module | str | os.PathLike[str] | None = None,
    *,
    example_inputs: Any = None,
    dynamic_shapes: Any = None,
    module: str | None = None,
    variant: str | None = None,
    task: str | None = None,
    max_global: int | None = None,
    max_length: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    tokenizer: Any = None,
    output: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    sizes: Mapping[str, int] | None = None,
    explain: str | Sequence[str] | None = None,
    grid: str = "quick",
    opset: int = 20,
    ops: str = PORTABLE,
    candidates: bool = False,
    overwrite: bool = False,
    progress: Stages | bool = False,
) -> Bundle:
    """Exports a model and verifies it. Writes a bundle only if every check passes.

    Args:
        source: a folder that `save_pretrained` wrote, the id of a model on the Hugging Face hub, a model of
            transformers in memory, an encoder of `edgexf.models`, or with `example_inputs` any `torch.nn.Module`.
        example_inputs: inputs of a custom module: a tuple of tensors in the order of its ``forward``, or a dictionary
            by name. Every axis of an integer input varies. Axes of equal size in several inputs vary together; runs of
            the module tell apart what may differ, and find sizes that depend on others.
        dynamic_shapes: the ``dynamic_shapes`` of `torch.export`, if other axes of a custom module vary.
        module: ``package.module:factory`` that builds a custom module; see `edgexf_exporters.sources.modules.factory`.
        variant: the name of a reference model, with its trained weights or the weights in `weights`.
        task: what a model of transformers is exported for; by default what it was saved for.
        max_global: how many tokens of a row a caller may make global, for a family with global tokens.
        max_length: the longest input in tokens, for a smaller contract: the grid runs the model at its longest input, which
            takes minutes where the input is long. Of a custom module it bounds each axis that varies, other than that of
            samples; of a model of transformers the text alone. By default the model and its tokenizer tell. Of a custom module,
            or a family that is not listed, it is then 4,096 at most; 512 where an input holds the axis twice, in any case.
        image_size: the height and width of the images of a model of transformers in pixels, which stay fixed; or the least and the
            most of both, which then vary. A model that can interpolate the positions of its patches is asked to. By default the config
            or the image processor tells the size, and both sides stay fixed.
        tokenizer: the tokenizer of transformers, for a model in memory that reads text. A custom module reads text if
            its inputs are called ``input_ids``, ``attention_mask`` and ``token_type_ids``, or some of them.
        output: the folder to write; ``./<name>-bundle`` by default.
        weights: a safetensors file for `variant`; a safetensors file or a saved state_dict for `module`.
        sizes: sizes such as ``layers``, if the file of `weights` holds no specification.
        explain: the names of the explanation methods to compile (`edgexf_exporters.explain.methods`); ``()`` for none.
            By default AttnLRP, if every operator of the model has a rule.
        grid: ``quick`` or ``full``.
        opset: the opset of the graphs.
        ops: the operators of a candidate that a session prefers on their provider: ``ort-cpu`` or ``ort-cuda`` for those of
            ONNX Runtime's own that were measured to win; by default ``portable``, none. ``onnx/model.onnx`` stays portable.
        candidates: write the graphs in every further form (`edgexf_exporters.trace.forms`) as well, for `edgexf tune`. Each
            form is verified on the same grid: all of them took the reference
            transformer from 10 to 21 seconds, without explanation.
        overwrite: replace a bundle that is already there.
        progress: True shows on standard error how far the export is: a bar on a terminal; elsewhere, as in a notebook,
            a line for each stage. A function is called with the name of each stage, and for each cell of the grid also
            with the cells that are done and their number.

    Raises UsageError for a wrong choice, ExportError where the model does not trace or the weights do not fit, and
    VerificationError where a graph differs from its model.
    """
    require_packages("export", "torch", "onnx", "onnx_ir", "onnxscript", "safetensors")
    require_onnxruntime()
    request = Request(
        source, example_inputs, dynamic_shapes, module, variant, task, max_global, tokenizer, weights, sizes or {}, max_length, image_size
    )  # fmt: skip
    check_options(explain, grid, opset, ops)
    check_request(request)
    target = output if output is not None else f"{request.name}-bundle" if request.name else None
    if target is not None:
        bundle.check_target(Path(target), overwrite)
    from edgexf_exporters.capture import capture_source, wanted_methods
    from edgexf_exporters.graphs import make_graphs
    from edgexf_exporters.hooks import frozen
    from edgexf_exporters.sources.choose import choose
    from edgexf_exporters.trace.forms import forms_of
    from edgexf_exporters.verify.contract import check_contract
    from edgexf_exporters.verify.judge import judge
    from edgexf_runtimes.device.providers import create

    with shown(progress) as stage:
        stage("loading the model")
        chosen, asked = choose(request), explain is not None
        with chosen.quiet(), frozen(chosen.module), temporary_room("an export"):
            check_contract(chosen)
            folder = Path(target or f"{chosen.name}-bundle")
            bundle.check_target(folder, overwrite)
            methods = wanted_methods(chosen, explain)
            stage("tracing")
            captured = capture_source(chosen, methods, asked)
            stage("translating to ONNX")
            graphs = make_graphs(captured, opset, asked, forms_of(ops, candidates))
            verifying = "verifying against the eager model"
            stage(verifying)
            verdict = judge(
                chosen, graphs, partial(graph_files, chosen), create, grid, asked, partial(stage, verifying)
            )
        with chosen.quiet():
            _, path = written(verdict, folder, grid, opset, overwrite, stage, ops)
    manifest = bundle.read(path)
    wanted = ops != PORTABLE or candidates
    for note in notes(manifest, explained=explain is None or bool(methods), candidates=wanted):
        warnings.warn(note, ExportWarning, stacklevel=2)
    return Bundle(path, manifest)


@contextmanager
def shown(progress: Stages | bool) -> Iterator[Stages]:
    """Yields the function that is told about the stages, from the argument `progress` of `export`."""
    if callable(progress):
        yield progress
    elif progress is True:
        from edgexf.report.terminal.bars import stages

        with stages(lines=True) as stage:
            yield stage
    elif progress is False:
        yield no_stages
    else:
        raise UsageError(f"progress must be True, False or a function, got {progress!r}; choose one of them.")


def written(
    verdict: Verdict, folder: Path, grid: str, opset: int, overwrite: bool, stage: Stages, ops: str = PORTABLE
) -> tuple[Manifest, Path]:
    """Writes the bundle. Returns its manifest and its path. Raises VerificationError where a check failed."""
    source, result = verdict.source, verdict.result
    if result.failures:
        raise VerificationError(
            f"a graph must agree with its model within {result.tolerance:g} on the {grid} grid, got "
            f"{len(result.failures)} failures ({'; '.join(result.failures[:3])}); no bundle was written.",
            result.to_dict(),
        )
    stage("writing")
    manifest = make_manifest(source, verdict, opset, ops)
    return manifest, bundle.write(folder, bundle_files(source, verdict, manifest), manifest, overwrite)


def notes(manifest: Manifest, explained: bool, candidates: bool = False) -> Iterator[str]:
    """Yields what a user of a bundle may not expect of it. `explained`: an explanation was wanted; `candidates`: some were."""
    if candidates and not manifest.candidates:
        yield NO_CANDIDATES
    if explained and UNEXPLAINED in manifest.provenance:
        yield f"no explain graph was written: {manifest.provenance[UNEXPLAINED]}"
    if TRACING_BRANCH in manifest.provenance:
        yield (
            f"forward goes another way while it is traced, {manifest.provenance[TRACING_BRANCH]}, and the graph goes this "
            "way: a sample of inputs agrees with the model, not all; compute without asking whether a trace runs"
        )
    if names.PROCESSOR_FILE in manifest.files and manifest.preprocess is None:
        yield f"the bundle takes arrays alone, pictures are {manifest.provenance[names.PICTURES]}"
    for axis in said(manifest, NARROWED):
        yield f"the contract keeps to fewer sizes than the module answers: {axis}; branch on no size to keep them all"
    if manifest.signature is not None:
        for name, value in manifest.signature.frozen.items():
            yield f"the graph keeps {name}={value}, since only tensors become inputs; give a tensor to let it vary"


def graph_files(source: Source, graphs: Graphs) -> dict[str, bytes]:
    """The files of the graphs after the passes, one file of weights for all graphs, and what is known of where their time
    goes, by their path in the bundle.
    """
    import onnx_ir as ir

    from edgexf.bundle.profile import written_profile
    from edgexf.passes import after_export
    from edgexf.passes.canonical_weights import canonical_weights
    from edgexf.passes.edges import Edges
    from edgexf.passes.modules import modules_of
    from edgexf.passes.share import share_weights
    from edgexf.pipeline.profile_graphs import graph_profile, regions_of

    protos = protos_by_path(graphs)
    takes, gives = source.explained_by(path=True, weights=True)
    shapes = {tensor.name: tensor.shape for tensor in (*source.tensors, *source.outputs, *takes, *gives)}
    switch = source.limits.switch if graphs.variable_block else 0
    edges = Edges(graphs.block, source.padding_id, shapes, switch, graphs.padding_mark)
    tidy = after_export(edges)
    models = {path: tidy(ir.serde.deserialize_model(proto)).model for path, proto in protos.items()}
    weights = {name: weight for name, weight in source.module.named_parameters() if weight.element_size() == 4}
    canonical_weights(models, ((name, weight.detach().cpu().numpy()) for name, weight in weights.items()))
    files, known = share_weights(models, names.WEIGHTS_FILE), dict(source.module.named_modules()).__contains__
    profile = {
        path: graph_profile(files[path], modules_of(model, known), regions_of(source, edges, graphs.step))
        for path, model in models.items()
    }
    return {**files, names.PROFILE_FILE: written_profile(profile)}


def protos_by_path(graphs: Graphs) -> dict[str, onnx.ModelProto]:
    """The models of the graphs, those of candidates too, by their path in the bundle."""
    methods = {names.PREDICT: names.PREDICT_FILE, **names.explain_files(graphs.explain)}
    usual = {names.PREDICT: graphs.predict, **graphs.explain}
    found = {path: usual[method] for method, path in methods.items()}
    for form, written in graphs.candidates.items():
        models = {names.PREDICT: written.predict, **written.explain}
        found |= {candidate_file(path, form.name): models[method] for method, path in methods.items()}
    return found


def bundle_files(source: Source, verdict: Verdict, manifest: Manifest) -> dict[str, bytes]:
    """Everything that a bundle holds besides its manifest, by path."""
    return {
        **verdict.files,
        **source.files,
        names.CONFIG_FILE: in_browsers(source.config, verdict.files, FP32),
        names.GOLDEN_FILE: verdict.golden,
        names.CARD_FILE: card(source, verdict.result, manifest).encode(),
    }
