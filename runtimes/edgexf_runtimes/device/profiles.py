"""What a session is tuned for: the table of profiles, and the settings of a session.

In: the arguments of `edgexf.load`. Out: `Settings`, which `session_options` and `providers` read.

| profile | for | idle threads | weights | runs at a time |
|---|---|---|---|---|
| `balanced` | the default: predictions as fast as ONNX Runtime's, few copies | sleep | a packed copy for predict, none for explain | as many as are called |
| `edge` | the smallest memory | sleep | no copies: all graphs read the mapped file | as many as are called |
| `latency` | the shortest time of one run | spin, and take the processor while they wait | a packed copy for each graph | as many as are called |
| `throughput` | many requests side by side | there are none: a run has one thread | a packed copy for each graph | `threads` |

The default is not `edge`, because a run of 8 tokens takes twice the time there. `tests/benchmarks/profiles.py` measures
all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgexf.checks import is_choice
from edgexf.errors import UsageError, quoted
from edgexf.records import Record


class Profile(Record):
    """What a session is tuned for.

    Attributes:
        name: the name that callers use.
        spins: whether threads spin while they wait for work. That saves the time of waking them.
        side_by_side: whether each run has one thread, and as many runs as there are threads are at work.
        packs_predict, packs_explain: whether the predict graph, and each explain graph, has a copy of the weights of its
            own, packed for its products. A graph without one reads them in the file; see `weights`.
    """

    name: str
    spins: bool = False
    side_by_side: bool = False
    packs_predict: bool = True
    packs_explain: bool = True


BALANCED = Profile("balanced", packs_explain=False)
PROFILES = {
    profile.name: profile
    for profile in (
        BALANCED,
        Profile("edge", packs_predict=False, packs_explain=False),
        Profile("latency", spins=True),
        Profile("throughput", side_by_side=True),
    )
}


def profile_named(name: str) -> Profile:
    """Raises UsageError for an unknown profile."""
    if not is_choice(name, PROFILES):
        raise UsageError(f"profile must be one of {', '.join(PROFILES)}, got {quoted(name)}; choose one of them.")
    return PROFILES[name]


class Settings(Record):
    """How the graphs of a session are opened.

    Attributes:
        threads: the threads that work at a time; None for as many as this process may use.
        providers: the providers as callers name them; see `edgexf_runtimes.device.asked`.
        profile: what the session is tuned for.
        strict: whether only these providers may run the graph; else the CPU runs what they can't.
        log_level: the level from which ONNX Runtime's messages of a session are shown; see
            `edgexf_runtimes.device.messages`.
    """

    threads: int | None = None
    providers: Any = ("cpu",)
    profile: Profile = BALANCED
    strict: bool = True
    log_level: str = "error"

    def with_providers(self, providers: Any) -> Settings:
        return replace(self, providers=providers)
