"""`edgexf variants`, `verify` and `doctor`: list what can be exported, check a bundle, describe the device."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgexf.cli.options import bundle_argument
from edgexf.cli.session import Opening, session_options


@click.command()
def variants() -> None:
    """What can be exported, and how it is verified."""
    from edgexf.cli.console import show_records
    from edgexf_exporters import VARIANTS
    from edgexf_exporters.families import AS_IT_IS, GENERAL, LOWERED, TESTED, TOLERANCE

    lowered = [
        {
            "variant": v.name,
            "kind": LOWERED,
            "family": v.family,
            "attention": f"{v.attention} ({v.source}{'' if v.subquadratic else '; quadratic'})",
            "heads": ", ".join(v.tasks),
            "inputs": ", ".join((*v.inputs, *(f"[{name}]" for name in v.optional_inputs))) or "those of forward",
            "limits": v.limits,
            "padding": v.padding,
            "tolerance": f"{v.tolerance:g}, reached {v.measured_error:.1e}",
        }
        for v in VARIANTS
    ]
    tested = [
        {
            "variant": one.name,
            "kind": AS_IT_IS,
            "head": one.architecture,
            "tolerance": f"{TOLERANCE:g}, reached {one.measured_error:.1e}",
        }
        for one in TESTED
    ]
    rest = {"variant": "any other family of transformers", "kind": GENERAL, "tolerance": f"{TOLERANCE:g}, or no bundle"}
    show_records([*lowered, *tested, rest])


@click.command()
@bundle_argument
@session_options("providers", "profile", "threads")
def verify(bundle: Path, opening: Opening) -> None:
    """Check a bundle: hashes, contract, golden outputs on this device."""
    from edgexf.cli.console import show_table
    from edgexf.pipeline.card import difference_text
    from edgexf.pipeline.verify_bundle import verify

    verdict = verify(bundle, **opening.arguments)
    rows = [
        (part.name, row.cell, *map(difference_text, (row.outputs, row.relevance, row.residual)))
        for part in verdict.parts
        for row in part.rows
    ]
    show_table(("dtype", "golden cell", "outputs", "relevance", "residual"), rows)
    click.echo(f"{len(verdict.bundle.manifest.files)} files are as they were written")
    for part in verdict.parts:
        if part.unopened:
            click.echo(f"{part.name}: not checked, the portable graphs run in its place here ({part.unopened})")
            continue
        click.echo(
            f"{part.name}: worst relative difference {part.worst:.1e}, tolerance {part.tolerance:g}: {'passed' if part.passed else 'FAILED'}"
        )
    if not verdict.passed:
        raise click.exceptions.Exit(1)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Providers, instruction sets, limits and versions of this device."""
    from edgexf.cli.console import show_table
    from edgexf_runtimes.device.device import describe

    found = describe()
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        show_table(
            ("what", "found"),
            [(name, value if isinstance(value, str) else ", ".join(value)) for name, value in found.items()],
        )
