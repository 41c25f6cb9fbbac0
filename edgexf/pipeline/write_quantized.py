"""Writes a quantized dtype into a bundle: its graphs, the candidates in it, and what the reports say.

In: the bundle, the outcome of a mode and its files. Out: the bundle, revised in place, all of it or nothing.

A candidate is quantized as the graph that it stands in for, from its own fp32 graphs, with the same weights in the same
file. `agreeing` leaves out one whose answers are beyond the tolerance of the dtype. Modes that convert whole graphs make no
candidates: their conversion knows no branches.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgexf import bundle, names
from edgexf.bundle.manifest import Candidate, Graph, Manifest
from edgexf.bundle.profile import Profile, read_profile, written_profile
from edgexf.dtypes import FP32, in_dtype, preferred
from edgexf.pipeline.browser_config import in_browsers
from edgexf.pipeline.measure_mode import graphs_in, trial_of
from edgexf.pipeline.profile_graphs import graph_profile, regions_in
from edgexf.report.quantization import FORCED, KEPT, REFUSED, Outcome, markdown, to_json
from edgexf_runtimes.device.dtype import modes
from edgexf_runtimes.measure.agreement import compare

if TYPE_CHECKING:
    from edgexf.passes.quantize.builder import Built
    from edgexf_runtimes.measure.agreement import Answers, Case

SECTION = "\n## Quantized graphs\n\n"  # of a bundle's README.md


def agreeing(answers: Answers, dtype: str, built: Built, cases: Sequence[Case], tolerance: float) -> list[Candidate]:
    """The candidates of the bundle with their graphs in a dtype alone, without those that answer beyond the tolerance."""
    found = []
    for one in answers.session.whole.candidates:
        graphs = [graph for graph in in_other_dtype(one.graphs, dtype) if graph.file in built.files]
        if [graph.method for graph in graphs[:1]] != [names.PREDICT]:
            continue
        with trial_of(answers.session, dtype, built.files, graphs) as other:
            if all(compare(answers, other, case).error <= tolerance for case in cases):
                found.append(replace(one, graphs=tuple(graphs)))
    return found


def in_other_dtype(graphs: Sequence[Graph], dtype: str) -> list[Graph]:
    """The records of the fp32 graphs among `graphs`, for another dtype."""
    return [replace(graph, dtype=dtype, file=in_dtype(graph.file, dtype)) for graph in graphs if graph.dtype == FP32]


def joined(candidates: Sequence[Candidate], more: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates, each with its graphs of `more`."""
    added = {one.name: one.graphs for one in more}
    return tuple(replace(one, graphs=(*one.graphs, *added.get(one.name, ()))) for one in candidates)


def profile_of(folder: Path, manifest: Manifest) -> Profile:
    """What the bundle says of its graphs; empty for a bundle of an earlier edgexf that says nothing."""
    path = manifest.variants[0].profile
    return read_profile((folder / path).read_bytes()) if path else {}


def write(
    folder: Path,
    manifest: Manifest,
    outcome: Outcome,
    others: Sequence[Outcome],
    built: Built,
    more: Sequence[Candidate],
) -> None:
    """Writes the bundle with one more dtype, or with a new version of that dtype.

    The reports in the bundle also tell of `others`. A dtype of `others` that is refused now is removed from the bundle.
    `more` are the candidates in the dtype.
    """
    anew = {outcome.dtype, *(one.dtype for one in others if one.verdict == REFUSED)}
    stays = [graph for graph in manifest.variants if graph.dtype not in anew]
    dropped = [graph.file for graph in manifest.variants if graph.dtype in anew]
    old = [graph for one in manifest.candidates for graph in one.graphs]
    dropped += [graph.file for graph in old if graph.dtype in anew]
    kept = [
        replace(one, graphs=tuple(graph for graph in one.graphs if graph.dtype not in anew))
        for one in manifest.candidates
    ]
    candidates = joined(kept, more)
    dropped += [path for dtype in anew if (path := in_dtype(names.PREDICT_FILE, dtype) + "_data") in manifest.files]
    if any(names.ort_file(path) in manifest.files for path in dropped):
        # They are of the old graphs. All go, since one file lists the operators of all.
        dropped += names.ort_files(manifest.files)
    before = {one.mode: one for one in modes(folder, manifest).values() if one.dtype not in anew}
    told = {one.mode: one for one in others if before.get(one.mode, one).verdict not in (KEPT, FORCED)}
    outcomes = [*{**before, **told}.values(), outcome]
    variants = (*stays, *(graph for graph in graphs_in(manifest, outcome.dtype) if graph.file in built.files))
    made = written_files(built, [*variants, *(graph for one in candidates for graph in one.graphs)])
    files = {*manifest.files, *made} - (set(dropped) - set(made))
    config = bundle.read_json(folder / names.CONFIG_FILE)
    changed = {
        **made,
        names.QUANTIZE_FILE: to_json(outcomes).encode() + b"\n",
        names.CONFIG_FILE: in_browsers(config, files, *browser_dtypes(outcomes)),
        names.CARD_FILE: with_section(folder / names.CARD_FILE, outcomes),
    }
    profile = profile_of(folder, manifest)
    if profile:
        now = {graph.file for graph in (*variants, *(graph for one in candidates for graph in one.graphs))}
        sources = [*manifest.in_dtype(FP32).variants, *(graph for graph in old if graph.dtype == FP32)]
        known = {path: one for path, one in profile.items() if path in now - set(made)}
        known |= quantized_profile(profile, [graph.file for graph in sources], outcome.dtype, built, made)
        changed[manifest.variants[0].profile] = written_profile(known)
    gc.collect()  # graphs of onnx_ir are cycles that hold weights open, and Windows moves no folder with an open file
    after = replace(manifest, variants=variants, candidates=candidates)
    bundle.revise(folder, changed, dropped, manifest, after)


def written_files(built: Built, graphs: Sequence[Graph]) -> dict[str, bytes]:
    """The files of a mode without the graphs that nothing lists: candidates that do not agree."""
    listed = {graph.file for graph in graphs}
    return {path: data for path, data in built.files.items() if path in listed or not path.endswith(".onnx")}


def quantized_profile(
    profile: Profile, sources: Sequence[str], dtype: str, built: Built, made: Mapping[str, bytes]
) -> Profile:
    """What is known of the new graphs, from what is known of the fp32 graphs that they were made of."""
    return {
        path: graph_profile(made[path], built.modules[path], regions_in(profile[source].operations))
        for source in sources
        for path in (in_dtype(source, dtype),)
        if path in made and source in profile
    }


def browser_dtypes(outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """The best dtype for wasm that was kept, and the best for WebGPU that was kept or that was only slow on the CPU that
    measured it; empty if there is none.
    """
    kept = {outcome.dtype for outcome in outcomes if outcome.verdict == KEPT}
    fast = {outcome.dtype for outcome in outcomes if outcome.verdict == KEPT or outcome.only_slow}
    wasm = next((dtype for dtype in preferred("wasm") if dtype in kept), FP32)
    return wasm, next((dtype for dtype in preferred("webgpu") if dtype in fast), "")


def with_section(path: Path, outcomes: Sequence[Outcome]) -> bytes:
    """The model card with the table of quantized graphs, in place of an earlier table."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""
    before, _, after = text.partition(SECTION)
    behind = after.find("\n## ")
    rest = after[behind:] if behind >= 0 else ""
    return f"{before.rstrip()}\n{SECTION}{markdown(outcomes)}{rest}".encode(errors="surrogateescape")
