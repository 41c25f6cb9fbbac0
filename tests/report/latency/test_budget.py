"""Budgets: what they say, what they refuse, and that a lacking figure keeps none."""

from __future__ import annotations

import pytest

from edgexf.errors import UsageError
from edgexf.report.latency.budget import milliseconds, parse_budget


@pytest.mark.parametrize(
    ("text", "graph", "quantity", "limit", "length"),
    [
        ("p95<=20ms@512", "predict", "p95", 20, 512),
        ("p99.9 <= 0.5s @ 8", "predict", "p99.9", 500, 8),
        ("mean<=900us@128", "predict", "mean", 0.9, 128),
        ("attnlrp.p50<=60ms@512", "attnlrp", "p50", 60, 512),
        ("integrated-gradients.p50<=1s@512", "integrated-gradients", "p50", 1000, 512),
        ("memory<=200MiB@4096", "predict", "memory", 200 * 2**20, 4096),
        ("size<=10MB", "predict", "size", 10e6, None),
        ("energy<=50mJ@512", "predict", "energy", 0.05, 512),
        ("cold<=1.5s", "predict", "cold", 1500, None),
    ],
)
def test_a_budget_is_read(text: str, graph: str, quantity: str, limit: float, length: int | None) -> None:
    found = parse_budget(text)
    assert (found.graph, found.quantity, found.limit, found.length) == (graph, quantity, pytest.approx(limit), length)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("p95<20ms@512", "must look like"),
        ("p95<=-3ms@512", "must look like"),
        ("p95<=ms@512", "must look like"),
        ("", "must look like"),
        ("p95<=20ms@512,p50<=3ms@9", "must look like"),
        ("p94<=20ms@512", "must bound one of mean, p50, p90, p95, p99, p99.9, energy, memory, size, cold, got 'p94'"),
        ("p95<=20MB@512", "must be in us, ms, s, got 'MB'"),
        ("size<=20ms", "must be in MB, GB, MiB, GiB"),
        ("p95<=20ms", "must name its length"),
        ("size<=20MB@512", "must name no length"),
    ],
)
def test_a_typo_is_named(text: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parse_budget(text)


def test_a_limit_is_kept_up_to_itself() -> None:
    budget = parse_budget("p95<=20ms@512")
    assert budget.within(20.0).kept
    assert not budget.within(20.001).kept
    assert budget.within(20.001).sentence() == "p95<=20ms@512: not kept, 20.001 ms"
    assert parse_budget("size<=10MB").within(2_500_000).sentence() == "size<=10MB: kept, 2.5 MB"


def test_a_lacking_figure_keeps_no_budget() -> None:
    found = parse_budget("p99<=20ms@512").within(None, "need at least 459 queries")
    assert not found.kept
    assert "lacking (need at least 459 queries)" in found.sentence()


@pytest.mark.parametrize(("text", "ms"), [("50ms", 50.0), ("1.5 s", 1500.0), ("250us", 0.25)])
def test_a_time_is_read_in_milliseconds(text: str, ms: float) -> None:
    assert milliseconds(text) == ms


@pytest.mark.parametrize("text", ["", "50", "ms", "-5ms", "5m", "nanms", "1e3ms", "\u0665ms", "9" * 400 + "ms"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"a time must be a number with us, ms, s, got .*; write it like 50ms"):
        milliseconds(text)
