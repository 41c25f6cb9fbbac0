"""A graph that was not verified on this device answers its golden inputs before anything else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from small import DATA

import edgexf
from edgexf.errors import Cancelled, DeviceError, InputError, UsageError
from edgexf_runtimes import golden, opening, remembered
from edgexf_runtimes.calls.cancel import Cancel
from edgexf_runtimes.calls.forking import OPENING
from edgexf_runtimes.device import providers
from edgexf_runtimes.measure import golden as measure

LINFORMER = DATA / "bundles" / "v1" / "linformer"
IDS = np.array([[257, 1, 2, 3, 4, 5, 6, 7]])
Change = Callable[[list[Any]], list[Any]]
ELSEWHERE = {"name": "another processor", "instruction sets": ["avx2"]}


class Changed:
    """A session of a device that computes otherwise: `change` is made to each answer. Counts its runs."""

    def __init__(self, session: ort.InferenceSession, change: Change) -> None:
        self.session, self.change, self.runs = session, change, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run(self, outputs: list[str], feeds: Mapping[str, Any], options: Any = None) -> list[Any]:
        self.runs += 1
        return self.change(self.session.run(outputs, feeds, options))


class Device:
    """What opened here, and what a test changes about it."""

    def __init__(self) -> None:
        self.opened: list[Changed] = []
        self.change: Change = lambda answer: answer


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A processor on which no quantized graph was measured."""
    made = Device()
    create = providers.create

    def changed(*arguments: Any, **options: Any) -> Any:
        made.opened.append(Changed(create(*arguments, **options), made.change))
        return made.opened[-1]

    monkeypatch.setattr(providers, "create", changed)
    monkeypatch.setattr(opening, "processor", lambda: ELSEWHERE)
    monkeypatch.setattr(remembered, "_known", set())
    monkeypatch.delenv(remembered.VARIABLE, raising=False)
    return made


def golden_runs(device: Device) -> list[int]:
    return [session.runs for session in device.opened]


def test_fp32_on_cpu_was_verified_and_runs_nothing(device: Device) -> None:
    edgexf.load(LINFORMER, dtype="fp32").close()
    assert golden_runs(device) == [0]


def test_another_dtype_was_verified_on_the_processor_that_measured_it_alone(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = len(golden.cells_of(LINFORMER, edgexf.bundle.read(LINFORMER)))
    edgexf.load(LINFORMER, dtype="q8").close()
    assert golden_runs(device) == [cells]
    (outcome,) = opening.modes(LINFORMER, edgexf.bundle.read(LINFORMER)).values()
    monkeypatch.setattr(opening, "processor", lambda: opening.measured_on(outcome.machine))
    edgexf.load(LINFORMER, dtype="q8").close()
    assert golden_runs(device) == [cells, 0]


def test_a_wrong_answer_is_refused_by_name_and_number(device: Device) -> None:
    device.change = lambda answer: [answer[0] + 0.5, *answer[1:]]
    with pytest.raises(DeviceError, match=r"predict in q8 must .* within .*, got 0\.\d+ in outputs of length.* on cpu"):
        edgexf.load(LINFORMER, dtype="q8")
    with edgexf.load(LINFORMER, dtype="q8", check="never") as session:
        session.run(input_ids=IDS)


def test_an_explain_graph_is_checked_when_it_is_first_used(device: Device) -> None:
    with edgexf.load(LINFORMER, dtype="q8") as session:
        device.change = lambda answer: [*answer[:-1], np.full_like(answer[-1], np.nan)]
        with pytest.raises(DeviceError, match=r"in q8 must .*, got inf in relevance"):
            session.run_explain(input_ids=IDS)
        device.change = lambda answer: [answer[0], answer[1] + np.float32(1e-9), *answer[2:]]
        with pytest.raises(DeviceError, match=r"got inf in relevance of .* on cpu \(\d+ of \d+ cells"):  # at padding
            session.run_explain(input_ids=IDS)
        session.run(input_ids=IDS)
        device.change = lambda answer: answer
        session.run_explain(input_ids=IDS)


@pytest.mark.parametrize("named", [True, False])
def test_a_check_that_passed_is_remembered_for_this_device(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    cache = tmp_path if named else None
    for _ in range(2):
        edgexf.load(LINFORMER, dtype="q8", cache=cache).close()
    cells, again = golden_runs(device)
    assert (cells > 0, again) == (True, 0)
    monkeypatch.setattr(remembered, "_known", set())  # another process
    edgexf.load(LINFORMER, dtype="q8", cache=cache).close()
    assert golden_runs(device)[-1] == (0 if named else cells)
    for change in ({"name": "a third processor"}, {"instruction sets": []}):
        monkeypatch.setattr(opening, "processor", lambda change=change: ELSEWHERE | change)
        edgexf.load(LINFORMER, dtype="q8", cache=cache).close()
        assert golden_runs(device)[-1] == cells


def test_a_check_that_failed_is_not_remembered(device: Device) -> None:
    device.change = lambda answer: [answer[0] + 0.5, *answer[1:]]
    for _ in range(2):
        with pytest.raises(DeviceError):
            edgexf.load(LINFORMER, dtype="q8")
    assert golden_runs(device)[0] == golden_runs(device)[1] > 0


def test_a_check_ends_with_its_call(device: Device) -> None:
    token = Cancel()

    def cancel(answer: list[Any]) -> list[Any]:
        token.cancel()
        return answer

    with edgexf.load(LINFORMER, dtype="q8") as session:
        device.change = cancel
        with pytest.raises(Cancelled):
            session.run_explain(input_ids=IDS, cancel=token)
        assert golden_runs(device)[-1] == 1


def test_other_graphs_may_open_while_golden_inputs_run(device: Device) -> None:
    """A device may take minutes for them, in which a fork and the opening of other bundles would wait."""
    free: list[bool] = []

    def look() -> None:
        free.append(OPENING.acquire(blocking=False))
        if free[-1]:
            OPENING.release()

    def change(answer: list[Any]) -> list[Any]:
        other = threading.Thread(target=look)  # the lock may be taken twice in one thread
        other.start()
        other.join()
        return answer

    device.change = change
    with edgexf.load(LINFORMER, dtype="q8") as session:
        session.run_explain(input_ids=IDS)
    assert len(free) > 2
    assert all(free)


@pytest.mark.parametrize("limits", [{"batch": 1}, {"bytes": 16}])
def test_golden_outputs_of_an_open_session_are_not_for_the_limits_of_its_calls(limits: dict[str, int]) -> None:
    with edgexf.load(LINFORMER, dtype="fp32") as session:
        wanted = measure.check(session)
    with edgexf.load(LINFORMER, dtype="fp32", limits=limits) as session:
        assert measure.check(session) == wanted
        cells = golden.cells_of(session.path, session.whole)
        (_, tensors) = cells.popitem()
        with pytest.raises(InputError, match="0 to 257, got 258"):  # the contract is checked, though
            measure.check_cell(session, "cell", {**tensors, "input_ids": tensors["input_ids"] * 0 + 258})


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(UsageError, match="check must be one of golden, never, got True"):
        edgexf.load(LINFORMER, check=True)  # type: ignore[arg-type]
