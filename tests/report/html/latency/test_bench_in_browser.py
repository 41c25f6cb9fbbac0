"""What `edgexf bench` writes of two reference bundles, fp32 and int8, an answer and an explanation, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import LACKING, Browser, found
from click.testing import CliRunner
from conftest import export_once

from edgexf.cli import main
from edgexf.pipeline import measure_mode
from edgexf.pipeline.quantize_bundle import Request, quantize
from edgexf.report.latency.report import LatencyReport
from edgexf_runtimes.measure.latency import collected

pytestmark = [pytest.mark.slow, pytest.mark.skipif(found() is None, reason=LACKING)]

QUICK = ("--queries", "2", "--seconds", "0", "--processes", "1", "--operators")
LENGTHS = {"linformer": "16,64", "reformer": "16"}  # a chart has a point for each length, or is one point
METHOD, DTYPES = "attnlrp", ("fp32", "q8")
FIGURES = """[...document.querySelectorAll("figure")].map(figure => {
    const drawings = [...figure.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().width);
    const box = drawings[0].getBoundingClientRect();
    return {title: figure.querySelector("h3").textContent, drawings: drawings.length, role: drawings[0].getAttribute("role"),
        alternative: drawings[0].getAttribute("aria-label"), marks: drawings[0].querySelectorAll("path, use").length,
        words: drawings[0].querySelectorAll("text").length, width: box.width, height: box.height, left: box.left, right: box.right};
})"""
# What the keyboard must reach, in this order: all that takes part in the order of the page.
CONTROLS = """(window.controls = [...document.querySelectorAll("a[href], summary, [tabindex], button, input, select")]
    .filter(one => one.getBoundingClientRect().width)).length"""
FOCUSED = """(() => { const style = getComputedStyle(document.activeElement), box = document.activeElement.getBoundingClientRect();
    return [window.controls.indexOf(document.activeElement), style.outlineStyle, parseFloat(style.outlineWidth),
        box.bottom > 0 && box.top < innerHeight]; })()"""


@dataclass(frozen=True)
class Made:
    """A page, and the report that it shows."""

    page: Path
    report: LatencyReport


@pytest.fixture(scope="module", params=LENGTHS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Of a copy of the bundle, which holds int8 too. Few cases and processes are enough: no page depends on their number."""
    exported = export_once(request.param, request.config, tmp_path_factory)
    folder = tmp_path_factory.mktemp(exported.name)
    copy, inputs = shutil.copytree(exported.bundle.path, folder / "bundle"), folder / "inputs.jsonl"
    inputs.write_text('{"text": "one"}\n{"text": "two"}\n')
    options = [
        "--dtype",
        ",".join(DTYPES),
        "--method",
        METHOD,
        "--evaluate",
        inputs,
        "--lengths",
        LENGTHS[exported.name],
    ]
    views = ["--html", folder / "page.html", "--json", folder / "report.json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_mode, "EXPLAINED", 1)
        patch.setattr(collected, "FEWEST", 1)
        quantize(copy, Request("int8", evaluate=inputs, force=True, lengths=(8,)))
        done = CliRunner().invoke(main, ["bench", *map(str, (copy, *QUICK, *options, *views))])
    assert done.exit_code == 0, done.stderr
    return Made(folder / "page.html", LatencyReport.from_json((folder / "report.json").read_bytes()))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def titles(report: LatencyReport) -> list[str]:
    """The charts that a report of answers and explanations, with operators, must have."""
    told = dict.fromkeys(f"{one.graph} {one.dtype}" for one in report.breakdowns if one.layers)
    assert "predict fp32" in told
    return [
        "Latency against length", "Throughput against length", "Stages of an answer", "Time by operator",
        *(f"Time by layer: {name}" for name in told), "From nothing to the first answer", "Peak of memory against length",
        "Resident memory after each stage", "Cost of an explanation", *(row.of.name for row in report.rows),
    ]  # fmt: skip


def test_every_chart_is_seen_on_a_desktop_and_a_phone_in_the_light_and_in_the_dark(
    browser: Browser, made: Made
) -> None:
    of = made.report.rows
    assert {(row.of.graph, row.of.dtype) for row in of} == {(graph, dtype) for graph in ("predict", METHOD) for dtype in DTYPES}  # fmt: skip
    for width in (1280, 390):
        for dark in (False, True):
            browser.open(made.page, width=width, dark=dark)
            assert browser.errors() == []
            assert browser.requests() == [made.page.as_uri()]
            assert browser.value("document.documentElement.scrollWidth") <= width
            figures: list[dict[str, Any]] = browser.value(FIGURES)
            assert [one["title"] for one in figures] == titles(made.report)
            for one in figures:
                assert (one["drawings"], one["role"]) == (1, "img")
                assert one["title"] in one["alternative"]
                assert min(one["marks"], one["words"]) > 2
                assert one["width"] > 200
                assert one["height"] > 100
                assert one["left"] >= 0
                assert one["right"] <= width


@pytest.mark.parametrize("width", [1280, 390])
def test_the_keyboard_goes_through_every_control_in_the_order_of_the_page(
    browser: Browser, made: Made, width: int
) -> None:
    browser.open(made.page, width=width)
    count = browser.value(CONTROLS)
    reached = []
    for _ in range(count):
        browser.press("Tab")
        place, outline, thick, seen = browser.value(FOCUSED)
        assert (outline, thick >= 2, seen) == ("solid", True, True), place
        reached.append(place)
    assert reached == list(range(count))
    assert count > len(made.report.rows)
