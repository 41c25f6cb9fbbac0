"""The pages of latency reports at the prompt: `edgexf bench --html`, `bench --from` and `compare --html`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from latency_reports import latency_report, measured
from small import DATA

from edgexf.cli import main
from edgexf.report.latency.changes import further
from edgexf.report.latency.report import LatencyReport
from edgexf_runtimes.measure.latency import bench

BUNDLE = DATA / "bundles" / "v1" / "linformer"
QUICK = ("--lengths", "8", "--queries", "1", "--seconds", "0", "--processes", "1")

MEASURES = [
    "--lengths",
    "8",
    "--processes",
    "20",
    "--dtype",
    "q8",
    "--providers",
    "cpu",
    "--provider-option",
    "cpu.a=1",
    "--profile",
    "balanced",
    "--threads",
    "1",
]


def edgexf_at(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A folder with two reports, the second of them slower."""
    for name, factor in (("old", 1.0), ("new", 1.2)):
        report = latency_report([measured(10.0 * factor, seed=int(factor > 1))], starts=())
        (tmp_path / f"{name}.json").write_text(report.to_json())
    return tmp_path


def test_bench_writes_the_page_of_what_it_measured(tmp_path: Path) -> None:
    done = edgexf_at("bench", BUNDLE, *QUICK, "--html", tmp_path / "page.html", "--json", tmp_path / "report.json")
    assert done.exit_code == 0, done.stderr
    report = LatencyReport.from_json((tmp_path / "report.json").read_bytes())
    assert (tmp_path / "page.html").read_text() == report.to_html()


def test_a_report_is_drawn_without_a_bundle_and_kept_to_budgets(reports: Path) -> None:
    views = [part for kind in ("html", "markdown", "csv", "json") for part in (f"--{kind}", reports / f"again.{kind}")]
    done = edgexf_at("bench", "--from", reports / "old.json", *views, "--budget", "p50<=1ms@512")
    assert (done.exit_code, "p50<=1ms@512: not kept" in done.stderr) == (1, True)
    report = LatencyReport.from_json((reports / "old.json").read_bytes())
    assert (reports / "again.html").read_text() == report.to_html(budgets=["p50<=1ms@512"])
    assert (reports / "again.json").read_text().strip() == report.to_json()
    assert (reports / "again.markdown").read_text() == report.to_markdown()
    assert (reports / "again.csv").read_text() == report.to_csv()


def test_compare_writes_the_page_of_both(reports: Path) -> None:
    done = edgexf_at("compare", reports / "old.json", reports / "new.json", "--html", reports / "page.html")
    assert done.exit_code == 1, done.stderr  # it is slower
    old, new = (LatencyReport.from_json((reports / f"{name}.json").read_bytes()) for name in ("old", "new"))
    assert (reports / "page.html").read_text() == old.to_html(new)


def test_compare_fails_where_a_configuration_vanished(reports: Path) -> None:
    (reports / "more.json").write_text(latency_report([measured(), measured(graph="attnlrp")], starts=()).to_json())
    done = edgexf_at("compare", reports / "more.json", reports / "old.json", "--junit", reports / "junit.xml")
    assert (done.exit_code, "the new report lacks attnlrp fp32 512" in done.stdout) == (1, True)
    assert 'failures="1"' in (reports / "junit.xml").read_text()
    done = edgexf_at("compare", reports / "old.json", reports / "more.json")
    assert (done.exit_code, "only the new report has attnlrp fp32 512" in done.stdout) == (0, True)


def test_several_devices_are_refused_or_a_matrix_without_a_verdict(reports: Path) -> None:
    text = (reports / "new.json").read_text()
    (reports / "far.json").write_text(text.replace('"a processor"', '"another"').replace('"q8"', '"fp32"'))
    arguments = ("compare", reports / "old.json", reports / "far.json")
    refused = edgexf_at(*arguments)
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "got different ones (processor a processor and another)" in refused.stderr
    done = edgexf_at(*arguments, "--force", "--json", reports / "matrix.json", "--html", reports / "page.html")
    assert (done.exit_code, done.stderr) == (0, "")  # though it is slower
    assert "linformer predict 512" in done.stdout
    assert "another: INVALID" not in done.stdout
    assert json.loads((reports / "matrix.json").read_text())["devices"] == ["a processor", "another"]
    old, far = (LatencyReport.from_json((reports / f"{name}.json").read_bytes()) for name in ("old", "far"))
    assert (reports / "page.html").read_text() == old.to_html(far, force=True)
    junit = edgexf_at(*arguments, "--force", "--junit", reports / "junit.xml")
    assert (junit.exit_code, junit.stdout, (reports / "junit.xml").exists()) == (2, "", False)
    assert "--junit must be given reports of one device" in junit.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bench"], ["must be given a bundle to measure, or --from", "got neither"]),
        (["bench", BUNDLE, "--from", "old.json"], ["without what a measurement takes, got bundle; leave it out"]),
        (["bench", "--from", "old.json", "--lengths", "8", "--threads", "1"], ["got --lengths, --threads"]),
        (["bench", "--from", "none.json"], ["none.json"]),
        (["bench", "--from", "other.json"], ["other.json: a latency report must be"]),
        (["bench", "--from", "old.json", "--budget", "p50<=1ms@8"], ["must be of what was measured"]),
        (["bench", "--from", "old.json", "--budget", "p50<=1parsec@512"], ["must be in us, ms, s"]),
        (["bench", "--from", "old.json", "--html", "no/such/page.html"], ["no/such/page.html"]),
        (
            ["compare", "old.json", "new.json", *MEASURES],
            ["got --lengths, --processes, --dtype, --providers, --provider-option, --profile, --threads;"],
        ),
        (["compare", BUNDLE, BUNDLE, "--processes", 9, "--most-processes", 8], ["at least --processes, got 8 and 9"]),
        (["compare", BUNDLE, BUNDLE, "--processes", 0], ["--processes must be 1 to 1,000, got 0"]),
        (["compare", BUNDLE, BUNDLE, "--most-processes", 2000], ["must be at most 1,000, got 2,000"]),
        (["compare", "old.json", "new.json", "--html", "no/such/page.html"], ["no/such/page.html"]),
    ],
)
def test_a_wrong_call_is_one_sentence_and_writes_nothing(
    arguments: Sequence[object], words: Sequence[str], reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reports)
    (reports / "other.json").write_text("{}")
    done = edgexf_at(
        *arguments, *([] if "--html" in arguments else ["--html", "page.html"] if arguments[0] == "bench" else [])
    )
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert not (reports / "page.html").exists()


@pytest.mark.parametrize(("options", "most"), [((), 60), (("--processes", "30", "--most-processes", "40"), 40)])
def test_bundles_are_compared_in_two_looks(
    options: Sequence[str], most: int, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is that of `further`, up to the most processes, and the intervals are those of both looks."""
    one = LatencyReport.from_json((reports / "old.json").read_bytes())
    asked: list[Any] = []

    def measured_in_turns(*_: object, further: Any, **__: object) -> list[LatencyReport]:
        asked.append(further)
        return [one, one]

    monkeypatch.setattr(bench, "measure_all", measured_in_turns)
    done = edgexf_at("compare", BUNDLE, BUNDLE, *options, "--json", reports / "found.json")
    assert done.exit_code == 0, done.stderr
    assert "interval of 99.5 %" in done.stdout
    assert json.loads((reports / "found.json").read_text())[0]["confidence"] == pytest.approx(0.995)
    (found,) = asked
    assert (found.func, found.keywords) == (further, {"most": most})


@pytest.mark.parametrize("command", [["bench", BUNDLE, *QUICK], ["compare", BUNDLE, BUNDLE]])
def test_without_the_extra_a_page_is_refused_before_the_measurement(
    command: Sequence[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = metadata.version

    def version(name: str) -> str:
        if name == "matplotlib":
            raise metadata.PackageNotFoundError(name)
        return plain(name)

    monkeypatch.setattr(metadata, "version", version)
    for name in ("measure", "measure_all"):
        monkeypatch.setattr(bench, name, lambda *_, **__: pytest.fail("it was measured"))
    done = edgexf_at(*command, "--html", tmp_path / "page.html")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "the extra `report`, got no matplotlib" in done.stderr
