"""Tuning finds the fastest of the ways that agree. The tests make up the times, and the graphs and answers are real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from candidate_bundles import add_candidate, copied, times

from edgexf import bundle
from edgexf.bundle.graphs import ORT_CPU
from edgexf.errors import DeviceError, UsageError
from edgexf.report.quantization import FORCED, REFUSED, Speed, from_json
from edgexf_runtimes.device import dtype, session_options
from edgexf_runtimes.measure import speed, tuning
from edgexf_runtimes.measure.tuning import FASTER, FIRST, LEFT_OUT, NOT_FASTER, Plan, contestants, search
from edgexf_runtimes.session import Session, load
from edgexf_runtimes.tuned import Tuned

Timing = Callable[[Session, Session, int], Speed]
PLAN = Plan((8,), threads=1, profile="balanced")


@pytest.fixture(autouse=True)
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may use four processors, whose products of bytes don't saturate."""
    monkeypatch.setattr(session_options, "available_threads", lambda: 4)
    monkeypatch.setattr(tuning, "available_threads", lambda: 4)
    monkeypatch.setattr(dtype, "saturates", lambda: False)


def found(folder: Path, plan: Plan, timing: Timing) -> tuple[Tuned, list[tuple[str, str]]]:
    """The chosen way, and each way with its verdict."""
    chosen, rows = search(folder, bundle.read(folder), plan, timing=timing)
    return chosen, [(str(row.way), row.verdict) for row in rows]


def test_the_fastest_candidate_is_chosen(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    for name in ("block-32", "block-64", "block-96"):
        add_candidate(folder, name)
    cost = {"portable": 4.0, "block_32": 3.0, "block_64": 1.0, "block_96": 2.0}
    chosen, tried = found(folder, PLAN, times(lambda way: cost[way.split()[0]]))
    assert chosen == Tuned("fp32", "block-64", 1, "balanced")
    assert tried == [
        ("fp32, 1 thread, balanced", FIRST),
        ("fp32 block-32, 1 thread, balanced", FASTER),
        ("fp32 block-64, 1 thread, balanced", FASTER),
        ("fp32 block-96, 1 thread, balanced", NOT_FASTER),
    ]


def test_a_candidate_that_answers_otherwise_is_left_out_however_fast_it_is(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "other", wrong=True)
    chosen, rows = search(folder, bundle.read(folder), PLAN, timing=times(lambda way: 0.01 if "other" in way else 1.0))
    assert chosen.candidate == "portable"
    (row,) = [row for row in rows if row.way.candidate == "other"]
    assert (row.verdict, row.speeds) == (LEFT_OUT, ())
    assert "differs from the model by" in row.reason
    assert "where 0.0001 is allowed" in row.reason


def test_a_candidate_that_does_not_open_is_left_out_also_where_load_prefers_it(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "own", broken=True, ops=ORT_CPU, preferred=True)
    chosen, rows = search(folder, bundle.read(folder), PLAN, timing=times(lambda _: 1.0))
    assert [(row.way.candidate, row.verdict) for row in rows] == [("own", LEFT_OUT), ("portable", FIRST)]
    assert "model_own.onnx must be a graph" in rows[0].reason
    assert chosen.candidate == "portable"


def test_nothing_is_chosen_where_no_graph_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "block-64")
    monkeypatch.setattr(tuning, "tolerance", lambda *_: -1.0)
    monkeypatch.setattr("edgexf_runtimes.golden.EXACT", (-1.0,) * 3)
    timed: list[str] = []

    def cost(way: str) -> float:
        timed.append(way)
        return 1.0

    with pytest.raises(DeviceError, match=r"must have graphs that answer as its model does .*, got none \(fp32, "):
        search(folder, bundle.read(folder), PLAN, timing=times(cost))
    assert timed == []


def test_a_difference_within_the_noise_decides_nothing(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "block-64")

    def cost(way: str) -> float:
        return 0.9 if "block" in way else 1.0

    assert found(folder, PLAN, times(cost, doubt=0.11))[0].candidate == "portable"
    assert found(folder, PLAN, times(cost, doubt=0.09))[0].candidate == "block-64"


def test_the_lengths_decide_together(tmp_path: Path) -> None:
    """Twice as fast at one length and a third slower at the other is faster in the geometric mean; the reverse is not."""
    folder = copied(tmp_path)
    add_candidate(folder, "block-64")
    for ratios, wanted in (({8: 0.5, 16: 1.5}, "block-64"), ({8: 0.8, 16: 1.5}, "portable")):

        def timing(_: Session, __: Session, length: int, ratios: dict[int, float] = ratios) -> Speed:
            return Speed(length, 7, ratios[length], ratios[length], ratios[length], 1.0)

        assert found(folder, replace(PLAN, lengths=(8, 16)), timing)[0].candidate == wanted


def test_lengths_are_moved_into_the_limits_of_the_model_and_timed_once(tmp_path: Path) -> None:
    timed = []

    def timing(_: Session, __: Session, length: int) -> Speed:
        timed.append(length)
        return Speed(length, 7, 1.0, 1.0, 1.0, 1.0)

    folder = copied(tmp_path)
    add_candidate(folder, "block-64")
    search(folder, bundle.read(folder), replace(PLAN, lengths=(5000, 8, 4096, 1)), timing=timing)
    assert timed == [2, 8, 99]


def test_threads_are_tried_with_the_best_graphs_and_profiles_with_the_best_threads(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    add_candidate(folder, "block-64")
    costs = {"block_64 4 balanced": 3.0, "block_64 2 balanced": 2.0, "block_64 2 latency": 1.0}
    chosen, tried = found(folder, Plan((8,)), times(lambda way: costs.get(way, 4.0)))
    assert chosen == Tuned("fp32", "block-64", 2, "latency")
    assert tried == [
        ("fp32, 4 threads, balanced", FIRST),
        ("fp32 block-64, 4 threads, balanced", FASTER),
        ("fp32 block-64, 1 thread, balanced", NOT_FASTER),
        ("fp32 block-64, 2 threads, balanced", FASTER),
        ("fp32 block-64, 2 threads, latency", FASTER),
    ]


def test_one_thread_has_no_other_that_could_spin(tmp_path: Path) -> None:
    _, tried = found(copied(tmp_path), Plan((8,), threads=1), times(lambda _: 1.0))
    assert tried == [("fp32, 1 thread, balanced", FIRST)]


def test_what_is_fixed_is_not_tried(tmp_path: Path) -> None:
    _, tried = found(copied(tmp_path), Plan((8,), threads=3, profile="edge"), times(lambda _: 1.0))
    assert tried == [("fp32, 3 threads, edge", FIRST)]


def test_numbers_of_threads_are_powers_of_two_and_all_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for most, wanted in ((1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])):
        monkeypatch.setattr(tuning, "available_threads", lambda most=most: most)
        assert Plan((8,)).thread_numbers == wanted


def dtypes(folder: Path, plan: Plan = PLAN) -> list[tuple[str, str]]:
    return [(way.dtype, way.candidate) for way in contestants(folder, bundle.read(folder), plan)]


def test_the_dtypes_that_quantization_kept_are_tried_and_candidates_in_the_dtypes_that_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(tmp_path, "linformer")
    add_candidate(folder, "block-64", dtype="q8")
    add_candidate(folder, "block-32")
    assert dtypes(folder) == [("q8", "portable"), ("q8", "block-64"), ("fp32", "portable"), ("fp32", "block-32")]
    assert dtypes(folder, replace(PLAN, dtype="fp32")) == [("fp32", "portable"), ("fp32", "block-32")]
    (mode, outcome), *_ = from_json((folder / "quantize_config.json").read_bytes()).items()
    for verdict in (FORCED, REFUSED):
        monkeypatch.setattr(dtype, "modes", lambda *_, verdict=verdict: {mode: replace(outcome, verdict=verdict)})
        assert dtypes(folder) == [("fp32", "portable"), ("fp32", "block-32")]
    with pytest.raises(UsageError, match="a graph must be one of the bundle's"):
        dtypes(folder, replace(PLAN, dtype="q4"))


def test_a_dtype_that_saturates_here_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(tmp_path, "linformer")
    (mode, outcome), *_ = from_json((folder / "quantize_config.json").read_bytes()).items()
    monkeypatch.setattr(dtype, "saturates", lambda: True)
    for unsigned, wanted in ((True, ["q8", "fp32"]), (False, ["fp32"])):
        monkeypatch.setattr(dtype, "modes", lambda *_, u=unsigned: {mode: replace(outcome, unsigned=u)})
        assert [name for name, _ in dtypes(folder)] == wanted


def test_the_way_that_fails_in_its_own_settings_gives_way_to_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, check = copied(tmp_path), tuning.golden.check
    wrong = [replace(row, outputs=1.0) for row in checked(folder)]
    monkeypatch.setattr(
        tuning.golden, "check", lambda session: wrong if session.settings.threads == 2 else check(session)
    )
    chosen, tried = found(
        folder, Plan((8,), profile="balanced"), times(lambda way: 1.0 if way == "portable 2 balanced" else 2.0)
    )
    assert chosen == Tuned("fp32", "portable", 4, "balanced")
    assert tried[-2:] == [("fp32, 2 threads, balanced", FASTER), ("fp32, 2 threads, balanced", LEFT_OUT)]


def checked(folder: Path) -> list[tuning.golden.GoldenRow]:
    with load(folder) as session:
        return tuning.golden.check(session)


def test_another_bundle_in_its_place_is_not_measured(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    manifest = bundle.read(folder)
    add_candidate(folder, "block-64")
    with pytest.raises(DeviceError, match="must stay the same while it is tuned"):
        search(folder, manifest, PLAN, timing=times(lambda _: 1.0))


def test_sessions_rest_between_turns_where_threads_spin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that still spin would slow the other session."""
    rests: list[float] = []
    monkeypatch.setattr(speed.time, "sleep", rests.append)
    folder = copied(tmp_path)
    with load(folder, threads=1) as plain, load(folder, threads=1, profile="latency") as spinning:
        tuning.timed(plain, plain, 8)
        assert rests == []
        found = tuning.timed(plain, spinning, 8)
    assert rests == [tuning.REST] * 2 * found.pairs


@pytest.mark.parametrize("lengths", [(), (0,), (8, -1), ("8",), (2.5,)])
def test_lengths_that_are_none_are_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="lengths must be whole numbers of at least 1"):
        Plan(lengths)
