"""The page of a latency report in a real browser, where one is installed: Debian's package `chromium`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import LACKING, Browser, found
from latency_reports import latency_report, rows

from edgexf.report.latency.report import LatencyReport

pytestmark = pytest.mark.skipif(found() is None, reason=LACKING)

CLIPPED = """[...document.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().width)
    .flatMap(svg => [...svg.querySelectorAll("text")].map(text => [svg.getBoundingClientRect(), text.getBoundingClientRect(), text.textContent]))
    .filter(([outer, inner]) => inner.left < outer.left - 4 || inner.right > outer.right + 4).map(([, , text]) => text)"""
CHARTS = """[...document.querySelectorAll("svg[role=img]")].filter(svg => svg.getBoundingClientRect().width > 200
    && svg.getBoundingClientRect().height > 100).map(svg => svg.getAttribute("aria-label"))"""
SMALLEST = """Math.min(...[...document.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().width)
    .flatMap(svg => [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect().height)))"""
FOCUSED = "document.activeElement.getAttribute('download') || document.activeElement.getAttribute('aria-label') || document.activeElement.getAttribute('href') || document.activeElement.tagName"
PAPER = "getComputedStyle(document.querySelector('section')).backgroundColor"
TEXT = "getComputedStyle(document.querySelector('svg text')).fill"
FOLDED = "[...document.querySelectorAll('details li')].map(one => one.checkVisibility())"
# Each of its eight rows has a reason to be invalid, so that some reasons are folded.
REPORT = latency_report(rows(), protocol={"queries": 1e3, "seconds": 1.0, "processes": 5.0})
LIGHT = ("rgb(255, 255, 255)", "rgb(85, 96, 110)")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "latency.html"
    path.write_text(REPORT.to_html(replace(REPORT, rows=tuple(rows(1.1, seed=1)))), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_asks_for_nothing(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    assert browser.errors() == []
    assert browser.requests() == [page.as_uri()]
    assert browser.value("document.documentElement.scrollWidth") <= width
    charts = browser.value(CHARTS)
    assert len(charts) == len(set(charts)) == 7 + 16
    assert browser.value(CLIPPED) == []
    assert browser.value(SMALLEST) >= 9
    colours = ("rgb(23, 28, 35)", "rgb(163, 173, 186)") if dark else LIGHT
    assert (browser.value(PAPER), browser.value(TEXT)) == colours


def test_the_keyboard_reaches_every_link_and_every_table(browser: Browser, page: Path) -> None:
    browser.open(page, width=390)
    wanted = set(browser.value("[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href'))"))
    wanted |= set(browser.value("[...document.querySelectorAll('.scroll')].map(a => a.getAttribute('aria-label'))"))
    wanted |= {f"latency-{name}.{kind}" for name in ("old", "new") for kind in ("json", "csv")}
    reached = set()
    for _ in range(2 * len(wanted)):
        browser.press("Tab")
        reached.add(browser.value(FOCUSED))
    assert wanted <= reached


def test_a_link_saves_the_report(browser: Browser, page: Path, tmp_path: Path) -> None:
    """Without a script, and without a network."""
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    browser.open(page)
    browser.value("document.querySelector('a[download=\"latency-old.json\"]').click()")
    browser.wait(lambda event: event.get("params", {}).get("state") == "completed")
    assert LatencyReport.from_json((tmp_path / "latency-old.json").read_bytes()) == REPORT


def test_it_prints_light_and_with_every_chart(browser: Browser, page: Path, tmp_path: Path) -> None:
    browser.open(page, width=700, dark=True)
    assert browser.value(FOLDED) == [False] * 4 * 2
    browser.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert (browser.value(PAPER), browser.value(TEXT)) == LIGHT
    assert len(browser.value(CHARTS)) == 7 + 16
    assert browser.value(FOLDED) == [True] * 4 * 2
    browser.printed(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
