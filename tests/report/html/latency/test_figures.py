"""Figures of a page that stand only where they mean something: floors, energy, and the processes of a measurement."""

from __future__ import annotations

from dataclasses import replace

from explanations import Page
from latency_reports import breakdown, latency_report, measured

from edgexf.report.html.latency.charts import floors_of, latency_chart
from edgexf.report.html.latency.head import said_of
from edgexf.report.latency.measured.facts import Fact
from edgexf.report.latency.tables import breakdown_tables, energy_rows


def test_only_the_scenario_single_has_a_floor_beside_it() -> None:
    """The queries of the others wait for each other: their times over a floor would tell the queue, not the graph."""
    some = [measured(), measured(length=1024, scenario="offline")]
    report = latency_report(some, products={"float32": Fact(250.0)}, breakdowns=(breakdown(), breakdown(length=1024)))
    assert list(floors_of(report)) == [some[0].of]
    assert "Only the scenario single has a floor" in latency_chart([report], [""]).note
    ((_, _, cells),) = breakdown_tables(report)
    assert cells[-2:] == [
        ["floor ms", "4", "4"],
        ["median / floor (single only)", f"{some[0].summary.median / 4:.2f}", "-"],
    ]


def test_energy_stands_with_its_counters_where_the_device_tells_it() -> None:
    some = (replace(measured(), joules=Fact(0.513)), measured(graph="attnlrp"))
    report = latency_report(some, device={"energy": Fact(["RAPL package-0", "NVML"])})
    page = Page(report.to_html())
    assert ["predict fp32 512", "0.513", "1"] in [[name, *cells] for name, *cells in energy_rows(report)]
    assert ("0.513" in [text for _, text in page.all("td")], "0.513" in report.to_markdown()) == (True, True)
    titled = "energy of all that ran meanwhile, by RAPL package-0, NVML"
    assert (titled in page.text("main"), titled in report.to_markdown()) == (True, True)
    assert 'id="energy"' not in latency_report([measured()], starts=()).to_html()


def test_the_processes_are_those_of_the_rows_and_not_those_that_were_planned() -> None:
    several = latency_report([measured(processes=1), measured(processes=3, graph="attnlrp")], partial=True)
    assert said_of(several, "").sentence == "2 configurations, 80 samples, 1 to 3 processes each"
    one = latency_report([measured(processes=1)], partial=True)
    assert said_of(one, "old").sentence == "old: 1 configuration, 20 samples, 1 process each"
    assert said_of(latency_report([]), "").sentence == "0 configurations, 0 samples"
