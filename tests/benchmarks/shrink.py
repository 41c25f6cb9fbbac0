"""What `session.shrink()` gives back after a long input, and what the next calls pay for it.

    python tests/benchmarks/shrink.py BUNDLE [--long 512]

Writes results/shrink.md. Memory is the proportional set size over that before `load`, in a fresh process for each profile,
with one thread. "Arena" is ONNX Runtime's own way: a run with ``memory.enable_memory_arena_shrinkage``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import click
import onnxruntime as ort
from profiles import explain_inputs, pss

import edgexf
from edgexf.report.markdown import markdown_table
from edgexf_runtimes.device.device import machine
from edgexf_runtimes.inputs import made

RESULT = Path(__file__).parent / "results" / "shrink.md"
SHORT = 8
HEADER = (
    "profile",
    "at 8 tokens",
    "after the long input",
    "arena",
    "shrink",
    "reopened at 8 tokens",
    "first runs",
    "later",
)


def child(path: str, profile: str, long: int) -> None:
    """Runs in a process of its own: prints a row of the table."""
    before = pss()
    with edgexf.load(path, profile=profile, threads=1, verify="never") as session:

        def run(length: int) -> tuple[float, float]:
            """Predicts and explains. Returns the milliseconds of both."""
            inputs, explained = made.inputs(session.path, session.manifest, length), explain_inputs(session, length)
            start = time.perf_counter()
            session.run(inputs)
            middle = time.perf_counter()
            session.run_explain(explained)
            return 1e3 * (middle - start), 1e3 * (time.perf_counter() - middle)

        run(SHORT)
        held = [pss()]
        run(long)
        held.append(pss())
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        short = made.inputs(session.path, session.manifest, SHORT)
        session.graphs.opened("predict").run(None, session.checked(short), options)
        held.append(pss())
        run(long)
        session.shrink()
        held.append(pss())
        first = run(SHORT)
        held.append(pss())
        later = run(SHORT)
    times = [f"{predict:.0f} + {explain:.0f} ms" for predict, explain in (first, later)]
    print(json.dumps([profile, *(f"{value - before:.0f} MiB" for value in held), *times]))


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--long", default=512)
@click.option("--child", "profile", hidden=True)
def main(bundle: Path, long: int, profile: str | None) -> None:
    if profile is not None:
        child(str(bundle), profile, long)
        return
    rows = []
    for name in ("balanced", "edge", "latency"):
        command = [sys.executable, __file__, str(bundle), "--long", str(long), "--child", name]
        rows.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    RESULT.write_text(
        f"# Shrink\n\n`python tests/benchmarks/shrink.py BUNDLE --long {long}` on {machine()}; the bundle is "
        f"{edgexf.load(bundle).manifest.name} of `python tests/benchmarks/profiles.py`.\n\n{markdown_table(HEADER, rows)}"
    )
    click.echo(RESULT.read_text())


if __name__ == "__main__":
    main()
