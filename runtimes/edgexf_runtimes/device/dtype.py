"""Chooses which of a bundle's dtypes to run on this device.

In: a bundle's folder and manifest, and the providers that were asked for. Out: a dtype that the bundle holds.

A CPU takes the first of q8, int8 and q4 that quantization kept, else fp32. It takes no q8 or int8 graph of an older edgexf
whose products would saturate on this processor. It never takes graphs in float16, because a CPU would compute every operator in
float32, between two conversions.

A GPU takes fp16 if the bundle holds it, else fp32. `edgexf.dtypes` ranks the dtypes for each device, and
`device.asked` says which device a provider is; one that is none of them takes fp32.

A graph that was forced into a bundle is not taken by default, with one exception: a GPU takes it if the only reason
against it was that it was slow on the CPU that measured it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgexf import names
from edgexf.bundle.manifest import Manifest
from edgexf.dtypes import dtype_named, preferred
from edgexf_runtimes.device.asked import CPU, Wanted, asked
from edgexf_runtimes.device.device import saturates

if TYPE_CHECKING:
    from edgexf.report.quantization import Outcome


def choose(folder: Path, manifest: Manifest, providers: Wanted | Sequence[Wanted]) -> str:
    """The dtype to run. Raises BundleError if the bundle's quantization report can't be read."""
    return allowed(folder, manifest, providers)[0]


def allowed(folder: Path, manifest: Manifest, providers: Wanted | Sequence[Wanted]) -> list[str]:
    """The dtypes that a session here may take without being asked, the preferred one first; the last is the export's own.
    Raises the error of `choose`.
    """
    usual = manifest.variants[0].dtype
    found = {outcome.dtype: outcome for outcome in modes(folder, manifest).values()}
    if not found:
        return [usual]
    from edgexf.report.quantization import KEPT  # here, as in `modes`

    there = {graph.dtype for graph in manifest.variants}
    device = asked(providers)[0].provider.device
    on_cpu, chosen = device == CPU.device, []
    for dtype in preferred(device) if device else ():
        outcome = found.get(dtype)
        if outcome is None or dtype not in there or (dtype_named(dtype).integer_products and unsafe(outcome)):
            continue
        if outcome.verdict == KEPT or (outcome.only_slow and not on_cpu):
            chosen.append(dtype)
    return [*chosen, usual]


def warn(folder: Path, manifest: Manifest, dtype: str) -> None:
    """Issues a UserWarning if a dtype that the caller named may saturate on this processor."""
    if not dtype_named(dtype).integer_products:
        return
    outcomes = modes(folder, manifest).values()
    if any(outcome.dtype == dtype and unsafe(outcome) for outcome in outcomes):
        warnings.warn(
            f"{dtype} was made by an older edgexf for processors with dot products of bytes, and its sums may saturate on this one; quantize the bundle again.",
            stacklevel=3,
        )


def unsafe(outcome: Outcome) -> bool:
    """Whether a graph's integer products would saturate on this processor."""
    return not outcome.unsigned and saturates()


def modes(folder: Path, manifest: Manifest) -> dict[str, Outcome]:
    """The bundle's quantization report: the outcome of each mode. Empty if the bundle has no quantized graphs."""
    if names.QUANTIZE_FILE not in manifest.files:
        return {}
    from edgexf.report.quantization import from_json  # here, because most bundles have no report

    return from_json((folder / names.QUANTIZE_FILE).read_bytes())


def tolerance(folder: Path, manifest: Manifest, dtype: str) -> float:
    """The largest relative difference from the eager model that the graphs of a dtype may have."""
    for outcome in modes(folder, manifest).values():
        if outcome.dtype == dtype:
            return outcome.tolerance
    return manifest.tolerance
