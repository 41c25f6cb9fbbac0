"""What `edgexf bench` refuses before it measures, and before it writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import Result
from latency_reports import latency_report, measured
from small import DATA, prompt

from edgexf.cli import main
from edgexf_runtimes.measure.device.energy import Energy
from edgexf_runtimes.measure.latency import bench, lacking

BUNDLE = DATA / "bundles" / "v1" / "linformer"
VIEWS = [part for kind in ("json", "csv", "markdown", "html") for part in (f"--{kind}", f"page.{kind}")]


def edgexf_at(*arguments: object) -> Result:
    return prompt().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "start", lambda *_: pytest.fail("it was measured"))


def refused(found: Result, *words: str) -> bool:
    """Whether it is one sentence with the words, wrong usage, and left no file."""
    no_file = not list(Path().glob("page.*"))
    assert (found.exit_code, found.stdout, found.stderr.count("\n"), no_file) == (2, "", 1, True), found.stderr
    return all(word in found.stderr for word in words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lengths", "8", "--budget", "p95<=20ms@16"], ["(predict at 8)", "'p95<=20ms@16'"]),
        (["--lengths", "8", "--budget", "gradient.p50<=20ms@16"], ["(predict at 8, gradient at 8)"]),
        (["--lengths", "8", "--budget", "magic.p50<=20ms@8"], ["magic"]),
        (["--budget", "p50<=20ms@100"], ["1 to 99", "100"]),
        (["--budget", "energy<=20mJ@8"], ["a quantity that is measured here", "no counter here"]),
        (["--budget", "memory<=20MB@8", "--batches", "1,4"], ["'memory<=20MB@8'", "of one row, not of batches"]),
        (["--scenario", "server", "--bound", "1s", "--budget", "energy<=1J@8"], ["search for the highest rate"]),
    ],
)
def test_a_budget_of_what_a_plan_does_not_measure_is_refused_before(
    options: Sequence[str], words: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lacking, "energy", lambda _: Energy(None, reason="no counter here"))
    assert refused(edgexf_at("bench", BUNDLE, "--dtype", "fp32", *options, *VIEWS), *words)


def test_a_budget_of_what_a_report_does_not_hold_is_refused_before_anything_is_written() -> None:
    Path("report.json").write_text(latency_report([measured(10.0)]).to_json())
    found = edgexf_at("bench", "--from", "report.json", "--budget", "p50<=1ms@8", *VIEWS)
    assert refused(found, "must be of what was measured (predict at 512)")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "b"', ["each line of labelled data must be JSON"]),
        ('{"text": "b", "label": "d"}', ["a label must be one of the model's (a, b, c)", "'d'"]),
        ('{"text": "b"}', ["all inputs or none must have a label, got 1 of 2", "none in"]),
        ('{"input": "nowhere.txt", "label": "a"}', ["nowhere.txt"]),
        ('{"arrays": {"input_ids": [[1], [2, 3]]}, "label": "a"}', ["nested lists of equal lengths"]),
        ('{"arrays": {"ids": [[1]]}, "label": "a"}', ["inputs must be among"]),
        ('{"input_ids": [300], "label": "a"}', ["input_ids must"]),
    ],
)
def test_a_wrong_line_of_evaluate_is_wrong_usage_that_names_file_and_line(line: str, words: Sequence[str]) -> None:
    Path("listing.jsonl").write_text(json.dumps({"text": "a", "label": "a"}) + "\n\n" + line + "\n")
    found = edgexf_at("bench", BUNDLE, "--lengths", "8", "--evaluate", "listing.jsonl", *VIEWS)
    assert refused(found, "line 3", "listing.jsonl", *words), found.stderr
