"""Programs in fresh processes of this Python.

In: a program of one line, and its arguments as text. Out: what it printed, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from edgexf.errors import EdgexfError


def answer_of(program: str, *arguments: str) -> Any:
    """Runs a program that prints JSON. It sees no module of the current folder. Raises EdgexfError if it fails."""
    command = [sys.executable, "-P", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603 (all arguments are ours)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing on standard error"])[-1]
        raise EdgexfError(
            f"a fresh process must load the bundle and run it, got exit code {done.returncode}: {last[-300:]}; try a shorter length, or free memory."
        )
    return json.loads(done.stdout)


def with_providers(opening: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `edgexf.load` as they were before JSON made lists of the pairs of a provider and its options."""
    if "providers" not in opening:
        return opening
    return {**opening, "providers": [tuple(one) if isinstance(one, list) else one for one in opening["providers"]]}
