"""The manifest of an export.

In: a source and the verdict on its graphs. Out: a `Manifest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from edgexf import names
from edgexf.bundle.graphs import PORTABLE, candidate_file
from edgexf.bundle.manifest import Candidate, Graph, Manifest

if TYPE_CHECKING:
    from edgexf_exporters.source import Source
    from edgexf_exporters.trace.forms import Form
    from edgexf_exporters.verify.judge import Verdict

TRACING_BRANCH = "tracing_branch"  # the key that names the lines at which the model asks whether it is traced
UNEXPLAINED = "unexplained"  # the key of a manifest's provenance that says why the bundle has no explain graph


def make_manifest(source: Source, verdict: Verdict, opset: int, ops: str = PORTABLE) -> Manifest:
    """The manifest of what was verified. `edgexf.bundle` adds the hashes of the files when it writes the folder.

    A session prefers the candidate with the operators `ops`.
    """
    graphs, result = verdict.graphs, verdict.result
    variants = (
        Graph("predict", "fp32", names.PREDICT_FILE, source.tensors, source.outputs, names.PROFILE_FILE),
        *(explain_graph(source, method, path) for method, path in names.explain_files(graphs.explain).items()),
    )
    return Manifest(
        name=source.name,
        task=source.task,
        limits=replace(source.limits, block=graphs.block),
        labels=source.labels,
        preprocess=source.preprocess,
        globals=source.globals,
        segments=source.segments,
        decoder=source.decoder,
        signature=None if source.module_inputs is None else source.module_inputs.signature,
        scores=source.scores,
        embedding=source.sentences,
        variants=variants,
        candidates=tuple(candidate(form, variants, preferred=form.ops == ops) for form in graphs.candidates),
        tolerance=result.tolerance,
        grid=result.to_dict(),
        provenance={
            **source.provenance,
            "variant": source.variant.name,
            "attention": source.variant.attention,
            **({UNEXPLAINED: graphs.unexplained} if graphs.unexplained else {}),
            **({TRACING_BRANCH: graphs.tracing_branch} if graphs.tracing_branch else {}),
            "opset": opset,
            "versions": {name: version(name) for name in ("edgexf", "torch", "onnx", "onnxscript", "onnxruntime")},
        },
    )


def candidate(form: Form, variants: Sequence[Graph], preferred: bool) -> Candidate:
    """The record of the graphs in another form."""
    graphs = (replace(one, file=candidate_file(one.file, form.name), ops=form.ops) for one in variants)
    return Candidate(form.name, tuple(graphs), preferred and form.ops != PORTABLE)


def said(manifest: Manifest, name: str) -> tuple[str, ...]:
    """What the manifest says about sizes by `NARROWED` or `SAMPLED`: in its signature, or for a model of text in its provenance."""
    lines = manifest.provenance.get(name, ()) if manifest.signature is None else getattr(manifest.signature, name)
    return tuple(lines)


def explain_graph(source: Source, method: str, path: str) -> Graph:
    """The record of a method's explain graph, with its inputs and outputs."""
    from edgexf_exporters.explain.methods import METHODS

    given, found = source.explained_by(METHODS[method].path, METHODS[method].weights)
    return Graph(method, "fp32", path, (*source.tensors, *given), (*source.outputs, *found), names.PROFILE_FILE)
