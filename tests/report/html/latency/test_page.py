"""The page of a latency report: each chart is there, nothing comes from outside, and the same report is the same page."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from explanations import Page, contrast
from latency_reports import UNKNOWN, breakdown, files_of, full_report, latency_report, measured, rows, stages

from edgexf.errors import MissingExtraError
from edgexf.report.html.document import POLICY
from edgexf.report.html.latency import charts, raw, samples
from edgexf.report.html.latency.bars import cold_chart, draw_cold, draw_time, groups_of, shares_of
from edgexf.report.html.latency.charts import costs_of, draw_latency, floors_of, latency_chart, lines_of
from edgexf.report.html.latency.page import latency_page
from edgexf.report.html.latency.plots import NAMES, log_ticks
from edgexf.report.html.latency.template import STYLE
from edgexf.report.latency.measured.breakdown import BETWEEN
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.measured.loadgen import Driven
from edgexf.report.latency.measured.quality import Explained, Quality
from edgexf.report.latency.measured.rates import Rate
from edgexf.report.latency.measured.rows import Started
from edgexf.report.latency.report import LatencyReport

HOSTILE = "$\\frac{1}{2}$<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7 * 7 }} #000001 \u202e\x00\ud800"
CHARTS = (
    "Latency against length", "Throughput against length", "From nothing to the first answer",
    "Stages of an answer", "Time by operator", "Peak of memory against length", "Resident memory after each stage", "Cost of an explanation",
)  # fmt: skip


def hostile() -> LatencyReport:
    """Each text of the report is an attack."""
    of = {"graph": HOSTILE, "dtype": HOSTILE, "providers": HOSTILE, "profile": HOSTILE, "scenario": HOSTILE}
    some = [measured(peak=Fact(64.0), **of), measured(**{**of, "graph": "predict"})]
    return latency_report(
        some,
        model=HOSTILE,
        digest=HOSTILE,
        files={HOSTILE: 1},
        date=HOSTILE,
        device={HOSTILE: Fact(HOSTILE), "processor": Fact([HOSTILE]), "system": Fact(None, HOSTILE)},
        before={HOSTILE: Fact(None, HOSTILE)},
        protocol={"queries": 44.0, "seconds": 1.0, HOSTILE: 1.0},
        starts=(Started(HOSTILE, HOSTILE, 1, {HOSTILE: 1.0}, {HOSTILE: 1.0}),),
        breakdowns=(breakdown(HOSTILE, HOSTILE, operator=HOSTILE),),
        products={"float32": Fact(None, HOSTILE)},
        rates=(Rate(HOSTILE, HOSTILE, 1, 1, HOSTILE, 1, Fact(None, HOSTILE)),),
        options={HOSTILE: {HOSTILE: HOSTILE}},
        loadgen=(Driven(some[0].of, 64, {"50": 1.0}, 1.0, False, (HOSTILE,), HOSTILE),),
        stages=(stages(HOSTILE, HOSTILE, lacking=HOSTILE),),
        quality=(Quality(HOSTILE, HOSTILE, HOSTILE, 1, 0.1, 0.2, explanations=(Explained(HOSTILE, 1, 0.5, 0.5),)),),
    )


REPORT = full_report()


@pytest.fixture(scope="module")
def html() -> str:
    return REPORT.to_html()


def test_every_chart_is_there_for_a_desktop_and_for_a_phone(html: str) -> None:
    labels = Counter(attributes["aria-label"] for attributes, _ in Page(html).all("svg"))
    assert {name: labels[name] for name in CHARTS} == dict.fromkeys(CHARTS, 2)
    assert sum(name.startswith("Samples of ") for name in labels) == 8
    titles = [text for _, text in Page(html).all("h2")]
    assert titles[:3] == ["Summary", "What was measured", "Where and how"]
    assert titles[3:] == ["Configurations", "MLPerf's LoadGen", "Latency", "From an input to an answer", "Where the time goes", "Cold start", "Memory", "Explanation", "Samples", "Environment", "Raw data"]  # fmt: skip


def test_the_verdict_comes_first_with_its_reasons() -> None:
    text = Page(latency_report([measured(each=4)], partial=True, starts=()).to_html()).text("header")
    assert "INVALID" in text
    assert "the measurement was interrupted" in text
    assert "20 queries, need at least 44" in text
    assert re.search(r"\bVALID\b", Page(latency_report([]).to_html()).text("header"))


def test_reasons_after_the_fourth_are_folded() -> None:
    some = [measured(each=4, length=length) for length in (8, 16, 32, 64, 128, 256)]
    page = Page(latency_report(some, starts=()).to_html())
    assert len(page.all("details")) == 1
    assert [text for _, text in page.all("summary")] == ["2 more"]
    assert sum("queries, need at least 44" in text for _, text in page.all("li")) == 6
    few = Page(latency_report(some[:5], starts=()).to_html())
    assert not few.all("details")
    assert sum("queries, need at least 44" in text for _, text in few.all("li")) == 5


def test_a_broken_budget_is_never_folded() -> None:
    budgets = [*(f"p50<={ms}ms@512" for ms in (20, 21, 22, 23, 24, 25)), "p50<=1us@512"]
    found = Page(latency_report([measured()], starts=()).to_html(budgets=budgets))
    assert found.all("li")[0][1].startswith("p50<=1us@512: not kept")


def test_the_summary_has_the_ends_of_each_line_and_the_range_of_starts_and_memory() -> None:
    some = [measured(length=length) for length in (128, 64, 512)] + [measured(2000.0, dtype="q8", peak=Fact(70.4))]
    html = latency_report(some).to_html()
    medians = [row.summary.median for row in some]
    facts = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", html))
    assert facts["predict fp32"] == f"{medians[1]:.3g} ms at 64, {medians[2]:.3g} ms at 512"
    assert facts["predict q8"] == f"{medians[3]:,.0f} ms at 512"
    assert (facts["cold start"], facts["peak of memory"]) == ("202 ms", "64 to 70 MiB")
    many = [measured(each=1, processes=1, dtype=f"d{place}") for place in range(10)]
    assert "2 more, in the table" in latency_report(many, starts=()).to_html()


def test_the_card_names_the_providers_of_the_rows_and_not_those_of_the_device() -> None:
    report = latency_report([measured(providers="cpu (a=1)")], starts=(), device={"providers": Fact(["cuda", "cpu"])})
    facts = re.findall(r"<dt>providers</dt><dd>([^<]*)</dd>", report.to_html())
    assert facts == ["cpu (a=1)"]


def test_budgets_stand_beside_the_verdict() -> None:
    found = latency_report([measured(), measured(graph="attnlrp", length=128)], starts=()).to_html(
        budgets=["p50<=20ms@512", "attnlrp.p50<=1us@128"]
    )
    text = Page(found).text("header")
    assert "BUDGETS NOT KEPT" in text
    assert "p50<=20ms@512: kept" in text
    assert "attnlrp.p50<=1us@128: not kept" in text


def test_every_text_is_escaped_and_nothing_is_read_as_code_or_mathematics() -> None:
    page = Page(latency_report().to_html())
    attacked = Page(latency_page([hostile(), hostile()]))
    assert {tag for tag, _, _ in attacked.elements} <= {tag for tag, _, _ in page.elements}
    assert not [name for _, attributes, _ in attacked.elements for name in attributes if name.startswith("on")]
    assert "{{ 7 * 7 }} #000001 U+202E\\x00U+D800" in attacked.text("main")
    assert not re.search("[\u202e\x00\ud800]", attacked.html)
    drawn = "".join(text for _, text in attacked.all("svg"))
    assert "$\\frac{1}{2}$<script>" in drawn
    attacked.html.encode()


def test_nothing_comes_from_outside(html: str) -> None:
    page = Page(html)
    addresses = [
        value for _, attributes, _ in page.elements for name, value in attributes.items()
        if name in ("href", "src", "xlink:href", "srcset", "action", "data", "poster")
    ]  # fmt: skip
    assert len(addresses) > 10
    assert not [one[:40] for one in addresses if not one.startswith(("#", "data:application/json;", "data:text/csv;"))]
    assert set(re.findall(r"url\(.", html)) <= {"url(#"}
    assert "@import" not in html
    assert "http:" not in html
    assert "https:" not in html
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(tag for tag, _, _ in page.elements)
    assert page.all("meta")[1][0]["content"] == POLICY


def test_every_reference_has_its_target_and_no_name_stands_twice(html: str) -> None:
    page = Page(html)
    names = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    references = set(re.findall(r'href="#([^"]+)"', html)) | set(re.findall(r"url\(#([^)]+)\)", html))
    assert references <= set(names)


def themes() -> dict[str, dict[str, tuple[int, int, int]]]:
    """The colours of the page by theme and name."""
    light, _, dark = STYLE.partition("@media screen and (prefers-color-scheme: dark)")
    base = {"ink": "1d2530", "soft": "55606e", "accent": "1f5f99", "line": "d9dee5"}
    found = {}
    for name, text in (("light", light), ("dark", dark.partition("} }")[0])):
        colours = {**base, **dict(re.findall(r"--(\w+): #(\w{6})", text))}
        found[name] = {key: tuple(bytes.fromhex(value)) for key, value in colours.items()}
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_have_every_colour_with_enough_contrast(theme: str) -> None:
    """4.5 for text and 3 for lines (WCAG 2.2, 1.4.3 and 1.4.11); text also on the bands of outliers."""
    colours = themes()[theme]
    assert set(NAMES) | {"accent", "good", "bad", "page"} <= set(colours)
    for name in ("ink", "soft", "accent", "good", "bad"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    for name in (name for name in colours if re.fullmatch(r"s\d", name)):
        for ground in ("paper", "mild", "severe"):
            assert contrast(colours[name], colours[ground]) >= 3, (name, ground)


def test_a_drawing_has_the_colours_of_the_page_and_none_of_its_own(html: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    used = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", "".join(drawings)))
    assert used <= {"none", *(f"var(--{name})" for name in NAMES)}
    assert {"var(--ink)", "var(--s0)", "var(--mild)"} <= used
    assert "font-family" not in "".join(drawings)
    assert "<style" not in "".join(drawings)  # it would hold for the whole page
    assert '<meta name="color-scheme" content="light dark">' in html


MAKE = "import hashlib, latency_reports as made; print(hashlib.sha256(made.latency_report(made.rows()[:2]).to_html().encode()).hexdigest())"


def test_the_same_report_is_the_same_page_whatever_the_user_has_set(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\nsvg.fonttype: path\n")
    own = {"MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "1"}
    path = os.pathsep.join(sys.path)
    call = [sys.executable, "-c", MAKE]
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=os.environ | own | {"PYTHONPATH": path})
    page = latency_report(rows()[:2]).to_html()
    assert done.stdout.strip() == hashlib.sha256(page.encode()).hexdigest()


# What the charts say


def axes_of(draw: object, *arguments: object) -> object:
    from matplotlib.figure import Figure

    figure = Figure()
    draw(*arguments, figure)  # type: ignore[operator]
    return figure.axes[0]


def test_a_line_holds_the_medians_and_a_stroke_the_90th_percentile_where_it_is_known() -> None:
    some = [measured(each=20), measured(each=4, length=1024), measured(each=20, graph="attnlrp")]
    lines = lines_of([latency_report(some)], [""])
    assert [line.name for line in lines] == ["predict fp32", "attnlrp fp32"]
    axes = axes_of(draw_latency, lines, [{}])
    drawn = [(list(one.get_xdata()), list(one.get_ydata())) for one in axes.lines]  # type: ignore[attr-defined]
    medians = [row.summary.median for row in some]
    tails = [row.summary.percentile(0.9).ms for row in some]
    assert drawn[0] == ([512, 1024], medians[:2])
    assert drawn[1] == ([512, 512], [medians[0], tails[0]])
    assert len(drawn) == 4  # 20 samples allow none
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")  # type: ignore[attr-defined]


def test_a_floor_is_dashed_in_the_colour_of_its_line() -> None:
    some = [measured(), measured(length=1024), measured(graph="attnlrp")]
    report = latency_report(some, products={"float32": Fact(250.0)}, breakdowns=(breakdown(), breakdown(length=1024)))
    axes = axes_of(draw_latency, lines_of([report], [""]), [floors_of(report)])
    (dashed,) = [one for one in axes.lines if one.get_linestyle() == "--"]  # type: ignore[attr-defined]
    assert (list(dashed.get_xdata()), list(dashed.get_ydata())) == ([512, 1024], [4.0, 4.0])
    assert dashed.get_color() == axes.lines[0].get_color()  # type: ignore[attr-defined]
    assert "Dashed: the floor" in latency_chart([report], [""]).note
    assert "Dashed" not in latency_chart([latency_report(some)], [""]).note


def test_bars_of_a_cold_start_are_medians_without_the_second_answer() -> None:
    starts = tuple(Started("predict", "fp32", 8, {"import": time, "first": 5.0, "second": 99.0}, {}) for time in (1.0, 2.0, 9.0))  # fmt: skip
    groups = groups_of([latency_report(starts=starts)], [""])
    axes = axes_of(draw_cold, groups, ["import", "first"])
    chart = cold_chart([latency_report(starts=starts)], [""])
    assert chart is not None
    assert [entry.name for entry in chart.legend] == ["import", "first"]
    assert [bar.get_width() for bar in axes.patches] == [2.0, 5.0]  # type: ignore[attr-defined]
    assert list(axes.lines[0].get_xdata()) == [6.0, 7.0, 14.0]  # type: ignore[attr-defined]


def test_operators_share_the_run_with_what_lies_between_them() -> None:
    bars = {"one": shares_of(breakdown()), "other": {"Conv": 40.0, BETWEEN: 60.0}}
    axes = axes_of(draw_time, bars, ["MatMul", "Softmax"])
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert widths == pytest.approx([50.0, 30.0, 0.0, 20.0, 0.0, 0.0, 40.0, 60.0])


def test_rates_and_quality_have_their_tables() -> None:
    rate = Rate("predict", "q8", 512, 1, "offline", 2, Fact(1234.0))
    report = latency_report([], rates=(rate,), quality=(Quality("q8", "fp32 on this device", "golden", 8, 0.01, 0.02),))
    text = " ".join(text for _, text in Page(report.to_html()).all("td"))
    assert "1,234" in text
    assert "fp32 on this device" in text


def test_the_cost_of_an_explanation_is_in_answers_of_the_same_kind_and_length() -> None:
    some = [
        measured(10.0), measured(5.0, dtype="q8"), measured(30.0, graph="attnlrp"), measured(20.0, graph="attnlrp", dtype="q8"),
        measured(1.0, graph="attnlrp", length=64),
    ]  # fmt: skip
    assert [cost.times for cost in costs_of(latency_report(some))] == pytest.approx([3.0, 4.0])


def dots_in(html: str) -> int:
    return sum(len(re.findall(r"M[\d.]+ [\d.]+h0", path)) for path in re.findall(r' d="([^"]*)"', html))


def test_every_sample_is_drawn_once_and_what_is_beyond_the_picture_is_told() -> None:
    row = measured(each=20)
    row = replace(row, ms=(*row.ms[:-1], 100.0))
    (chart,) = samples.distributions([latency_report([row])], [""])
    assert dots_in(chart.wide) == 99
    assert chart.note == "100 samples of 5 processes; 3 outliers, 2 of them severe; 1 beyond the picture, up to 100 ms."
    assert len(re.findall("<use", chart.wide)) >= 1
    equal = replace(row, ms=(10.0,) * 100)
    (chart,) = samples.distributions([latency_report([equal])], [""])
    assert dots_in(chart.wide) == 100
    assert "; no outliers." in chart.note


def test_of_many_samples_every_outlier_is_drawn_and_the_page_says_how_many_are() -> None:
    times = np.tile(np.linspace(9.9, 10.1, 100), 50)
    times[::500] = 12.0
    row = replace(measured(), ms=tuple(map(float, times)), processes=(5_000,))
    (chart,) = samples.distributions([latency_report([row])], [""])
    shown = samples.thinned(times, *np.quantile(times, [0.25, 0.75]))
    assert set(np.flatnonzero(times == 12.0)) <= set(shown)
    assert len(shown) <= samples.MOST_DOTS
    assert f"{len(shown):,} samples are drawn" in chart.note


@pytest.mark.parametrize(("low", "high"), [(0.3, 200.0), (9.0, 11.0), (1e-6, 3e10), (0.93, 1.07)])
def test_an_axis_has_some_ticks_within_it(low: float, high: float) -> None:
    found = log_ticks(low, high)
    assert 2 <= len(found) <= 9
    assert all(low <= tick <= high for tick in found)


def test_the_environment_has_the_reasons_for_what_is_unknown(html: str) -> None:
    text = " ".join(text for _, text in Page(html).all("td"))
    assert "unknown (not here)" in text
    assert "unknown (no sensor)" in text
    assert "2990 MHz" in text


# Raw data


def test_the_page_holds_the_report_and_each_sample(html: str) -> None:
    files = files_of(html)
    assert LatencyReport.from_json(files["latency.json"]) == REPORT
    assert files["latency.csv"].decode() == REPORT.to_csv()


def test_large_files_are_compressed_and_too_large_ones_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    report = latency_report([measured()], starts=())
    monkeypatch.setattr(raw, "MOST_BYTES", 3_000)
    files = files_of(report.to_html())
    assert gzip.decompress(files["latency.csv.gz"]).decode() == report.to_csv()
    assert files["latency.csv.gz"][4:8] == bytes(4)  # no date: the same report is the same page
    monkeypatch.setattr(raw, "MOST_BYTES", 10)
    page = report.to_html()
    assert files_of(page) == {}
    assert "latency.json.gz is too large for a link of a page; edgexf bench --json writes it." in page


# What is lacking


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (latency_report([]), "No latency was measured."),
        (latency_report([measured()], starts=()), "No fresh process was started."),
        (latency_report([measured()]), "No explanation was measured beside an answer"),
        (latency_report([measured()], starts=()), "No graph was profiled"),
        (latency_report([measured(peak=UNKNOWN)], starts=()), "The peak of memory is unknown: not here."),
        (latency_report([measured(each=1, processes=1)], starts=()), "1 sample of 1 process"),
    ],
)
def test_what_was_not_measured_is_said(report: LatencyReport, said: str) -> None:
    assert said in Page(report.to_html()).text("main")


def test_without_the_extra_the_page_is_refused_in_a_sentence_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(MissingExtraError, match=r"the extra `report`, got no jinja2 .*pip install 'edgexf\[report\]'"):
        latency_report([]).to_html()


def test_characters_that_the_font_lacks_are_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    html = latency_report([measured()], starts=(Started("日本", "fp32", 8, {"first": 1.0}, {}),)).to_html()
    assert "日本" in "".join(text for _, text in Page(html).all("svg"))
    assert not recwarn.list


def test_what_is_not_drawn_of_many_configurations_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "MOST_LINES", 2)
    monkeypatch.setattr(samples, "MOST_PANELS", 1)
    some = [measured(each=1, processes=1, dtype=dtype) for dtype in ("fp32", "q8", "q4")]
    page = Page(latency_report(some, starts=()).to_html())
    assert "Only the first 2 of 3 lines are drawn" in page.text("main")
    assert "Only the first 1 of 3 configurations are drawn" in page.text("main")
    assert "predict q4 512" in [text for _, text in page.all("th")]
    assert [one["aria-label"] for one, _ in page.all("svg")].count("Samples of predict fp32 512") == 1
