"""`speed.py` without measuring: choices, agreement, rows on disk, the page and the plot, from rows made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from benchmarks import speed
from benchmarks.contest import library, records, rows
from benchmarks.contest.agreement import disagreement
from benchmarks.contest.cases import Case, Choice
from benchmarks.contest.compiled import compiled
from benchmarks.contest.growth import growths
from benchmarks.contest.models import MODELS
from benchmarks.contest.page import page
from benchmarks.contest.plot import panels, plot
from torch import nn

ONE, OTHER = "Processor one, Linux", "Processor two, Linux"


def made(model: str, length: int, ms: float, machine: str = ONE, **more: Any) -> records.Record:
    """A row whose graph takes `ms` milliseconds, twice as fast as eager."""
    key = {"model": model, "layers": 4, "length": length, "batch": 1, "threads": 1, "machine": machine}
    seconds = {"eager": ms / 500, "graph": ms / 1000, "int8": ms / 1500, "floor": ms / 2000}
    ratios = {name: seconds["eager"] / value for name, value in seconds.items()}
    row = {"key": key, "seconds": seconds, "ratios": ratios, "rounds": 6, "invalid": "", "notes": {}}
    return row | more | {"key": key | more.get("key", {})}


def test_a_quick_choice_takes_the_reference_models_or_those_that_are_named() -> None:
    assert all(case.model.reference for case in Choice(quick=True).cases())
    named = list(Choice(quick=True, models=["hf-bert"], layers=[4]).cases())
    assert [(case.model.name, case.layers, case.length) for case in named] == [
        ("hf-bert", 4, 128), ("hf-bert", 4, 512), ("hf-bert", 4, 4096),
    ]  # fmt: skip


def test_no_case_has_a_length_that_the_eager_model_refuses() -> None:
    lengths = {case.length for case in Choice(models=["hf-nystromformer"]).cases()}
    assert lengths == {4096}


def test_an_unknown_model_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no model is called bert"):
        Choice(models=["bert"])


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([1.0, 2.0], ""),
        ([1.0, 2.001], ""),
        ([1.0, 2.1], "wrong by 0.05"),
        ([1.0, np.nan], "not finite"),
        ([1.0], "shape"),
    ],
)
def test_a_contestant_agrees_within_a_thousandth_of_the_largest_value(found: list[float], told: str) -> None:
    why = disagreement([np.array(found)], torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert (told in why) if told else not why


def test_a_model_that_cant_be_compiled_is_absent_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_: nn.Module, **__: Any) -> Any:
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setattr(torch, "compile", refuses)
    assert compiled(nn.Identity(), lambda module: module(torch.ones(1))) == (None, "RuntimeError: no compiler")


def test_a_compiled_model_with_another_answer_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda _, **__: nn.Hardtanh())
    run, why = compiled(nn.Identity(), lambda module: module(torch.full((1,), 2.0)))
    assert run is None
    assert "wrong by 0.5" in why


def test_a_graph_for_one_shape_serves_where_none_for_all_could_be_written(tmp_path: Path) -> None:
    case = Case(MODELS["hf-bert"], 4, 128)
    assert library.graph_of(tmp_path, case) == (None, "it was not exported by --prepare")
    (tmp_path / library.FOLDER).mkdir()
    library.place(tmp_path, case, fixed=False).with_suffix(".txt").write_text("at 1x512: fails\n")
    assert library.graph_of(tmp_path, case) == (None, "at 1x512: fails")
    onnx.save(onnx.ModelProto(), library.place(tmp_path, case, fixed=True))
    assert library.graph_of(tmp_path, case) == (library.place(tmp_path, case, fixed=True), "for one shape alone")


def test_a_row_that_counts_is_not_replaced_by_one_that_does_not() -> None:
    counts, drifts = made("hf-bert", 128, 5.0), made("hf-bert", 128, 6.0, invalid="drift")
    assert records.added([counts], drifts) == [counts]
    assert records.added([drifts], counts) == [counts]
    assert records.added([drifts], drifts) == [drifts]


def test_a_row_replaces_that_of_its_key_and_is_read_back(tmp_path: Path) -> None:
    first, second = made("hf-bert", 128, 1.0), made("hf-bert", 512, 4.0)
    again = made("hf-bert", 128, 2.0)
    found = records.added(records.added([first], second), again)
    records.write(tmp_path / "speed.jsonl", found)
    assert records.read(tmp_path / "speed.jsonl") == [again, second]


@pytest.mark.parametrize(("longest", "counted"), [(0.06, "again"), (0.3, "first")])
def test_a_row_of_short_runs_counts_the_second_run_of_each_turn(
    longest: float, counted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processor time that the contestants make up: a run behind a run of another one takes twice as long."""
    clock, before = [0.0], [""]

    def takes(name: str, seconds: float) -> Any:
        def run() -> None:
            clock[0] += seconds if before[0] == name else 2 * seconds
            before[0] = name

        return run

    monkeypatch.setattr(rows.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(rows, "busy", lambda: (clock[0], clock[0]))
    seconds = {"eager": 0.02, "graph": 0.01, "slow": longest}
    row = rows.measured({}, {name: takes(name, one) for name, one in seconds.items()}, 1, {})
    factor = 1 if counted == "again" else 2
    assert row.seconds == pytest.approx({name: factor * one for name, one in seconds.items()})
    assert not row.invalid


def test_a_row_has_as_many_rounds_as_are_asked_for() -> None:
    assert rows.measured({}, {"eager": lambda: sum(range(1000))}, 1, {}, 70).rounds == 70


def test_growth_is_the_slope_from_1024_tokens_on_of_rows_that_count() -> None:
    records_of_both = [
        made("hf-bigbird", 128, 90.0), made("hf-bigbird", 1024, 100.0), made("hf-bigbird", 4096, 400.0),
        made("hf-bigbird", 16384, 9.0, invalid="drift"), made("hf-bert", 1024, 1.0), made("hf-bert", 4096, 16.0),
    ]  # fmt: skip
    (one,) = growths(records_of_both)
    assert (one.model, one.first, one.last) == ("hf-bigbird", 1024, 4096)
    assert one.exponent == pytest.approx(1.0)


def test_each_machine_has_a_section_without_the_columns_that_it_lacks() -> None:
    slow = made("hf-bert", 128, 5.0, OTHER, notes={"library": "RuntimeError: no"})
    text = page([slow, made("hf-bert", 512, 9.0), made("hf-bert", 128, 3.0)], {ONE: "speed-2.svg"})
    first, second = text.split("## Machine 2")
    assert OTHER in first
    assert "- library, hf-bert of 4 layers at 1x128: RuntimeError: no" in first
    assert "eager / int8" in second
    assert "openvino |" not in text
    assert "Not measured on this machine: ort-cpu, compile, library, openvino, dense, explain." in second
    assert second.index("| 128 |") < second.index("| 512 |")
    assert "(speed-2.svg)" in second


def test_the_plot_is_the_same_for_the_same_rows_and_says_nothing_of_the_machine(tmp_path: Path) -> None:
    drawn = [made("hf-bert", length, length / 9, invalid="drift" * (length == 512)) for length in (128, 512, 4096)]
    drawn += [made("hf-bert", 512, 99.0, key={"layers": 12}), made("longformer", 128, 2.0, key={"threads": 2})]
    assert [row["key"]["length"] for row in panels(drawn)["hf-bert"]] == [128, 512, 4096]
    texts = []
    for name in ("one.svg", "two.svg"):
        assert plot(drawn, tmp_path / name)
        texts.append((tmp_path / name).read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    assert "hf-bert, 4 layers" in texts[0]
    assert "<dc:date>" not in texts[0]
    assert not plot([], tmp_path / "none.svg")


def test_a_full_run_goes_on_and_a_quick_one_measures_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, measured = tmp_path / "speed.jsonl", list[tuple[int, int]]()

    def measure(_: Path, case: Case, threads: int, *__: Any) -> records.Record:
        measured.append((case.length, threads))
        return made("longformer", 1, 1.0, key=speed.key_of(case, threads))

    monkeypatch.setattr(speed, "measure", measure)
    monkeypatch.setattr(speed, "folder_of", lambda *_: tmp_path)
    quick, full = (Choice(quick, models=["longformer"]) for quick in (True, False))
    speed.run(tmp_path, quick, lines, compiles=False, minutes=None)
    assert measured == [(length, threads) for length in (128, 512, 4096) for threads in (1, 2)]
    assert speed.run(tmp_path, quick, lines, compiles=False, minutes=0) == records.read(lines)
    speed.run(tmp_path, full, lines, compiles=False, minutes=None)
    assert (4096, 1) not in measured[6:]
    assert (1024, 1) in measured[6:]
    count = len(measured)
    assert len(records.read(lines)) == count
    speed.run(tmp_path, quick, lines, compiles=False, minutes=None)
    assert len(measured) == count + 6
    assert len(records.read(lines)) == count
    speed.run(tmp_path, full, lines, compiles=True, minutes=None)
    assert len(measured) == 2 * count + 6  # no row has tried torch.compile
