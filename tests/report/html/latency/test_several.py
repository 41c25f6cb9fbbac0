"""The page of several latency reports: what changed, or the matrix of their devices."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from explanations import Page
from latency_reports import files_of, latency_report, measured, rows

from edgexf.errors import UsageError
from edgexf.report.html.latency.charts import lines_of
from edgexf.report.latency.measured.facts import Fact


def test_two_reports_lie_over_each_other_with_what_changed() -> None:
    old, new = latency_report(rows()[:4]), latency_report(rows(1.2, seed=1)[:4])
    html = old.to_html(new)
    page = Page(html)
    assert "SLOWER" in page.text("header")
    assert "4 slower" in page.text("header")
    labels = Counter(attributes["aria-label"] for attributes, _ in page.all("svg"))
    assert (labels["New over old"], labels["Latency against length"]) == (2, 2)
    assert "○ old: predict fp32" in html.replace("</span>", "").replace('aria-hidden="true">', "")
    assert {"latency-old.json", "latency-new.json"} <= set(files_of(html))
    first, last = lines_of([old, new], ["old", "new"])[::2]
    assert (first.name, last.name, first.colour) == ("old: predict fp32", "new: predict fp32", last.colour)


def test_reports_of_different_devices_and_protocols_are_refused_unless_forced() -> None:
    one = latency_report([measured()], starts=())
    other = replace(one, device={"processor": Fact("another")})
    with pytest.raises(UsageError, match="processor a processor and another"):
        one.to_html(other)
    with pytest.raises(UsageError, match=r"queries 44\.0 and 20\.0"):
        one.to_html(replace(one, protocol={**one.protocol, "queries": 20.0}))
    forced = one.to_html(replace(one, protocol={**one.protocol, "queries": 20.0}), force=True)
    assert "queries 44.0 and 20.0" in Page(forced).text("header")


def test_several_devices_are_a_matrix_with_their_names_and_without_a_verdict_between_them() -> None:
    one = latency_report([measured(), measured(dtype="q8")], starts=())
    other = replace(one, device={"processor": Fact("another")}, rows=(measured(20.0, seed=1),))
    html = one.to_html(other, force=True)
    page = Page(html)
    assert "MATRIX a processor, another; no verdict is given between devices" in page.text("header")
    assert "SLOWER" not in page.text("header")
    assert [text for _, text in page.all("h2")][2] == "Devices"
    assert {"a processor fp32", "a processor q8", "another fp32"} <= {text for _, text in page.all("th")}
    assert set(files_of(html)) == {
        f"latency-{name}.{kind}" for name in ("a-processor", "another") for kind in ("json", "csv")
    }
