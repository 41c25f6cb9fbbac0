"""The parts of the page on whole answers, on what LoadGen says, and on the options of sessions."""

from __future__ import annotations

import pytest
from explanations import Page
from latency_reports import full_report, latency_report, stages

REPORT = full_report()


@pytest.fixture(scope="module")
def html() -> str:
    return REPORT.to_html()


def test_what_loadgen_says_stands_beside_ours(html: str) -> None:
    text = Page(html).text("main")
    assert "INVALID: Only 64." in text
    assert f"{12 / REPORT.rows[1].summary.median:.3f}" in text


def test_stages_without_a_time_have_their_reason(html: str) -> None:
    assert "Without a time: tokenization: there is no text." in Page(html).text("main")
    without = latency_report(stages=(stages(lacking="no text", stages=()),)).to_html()
    assert "From an input to an answer" not in [text for _, text in Page(without).all("h2")]


def test_every_option_of_the_sessions_is_there(html: str) -> None:
    text = Page(html).text("main")
    assert all(
        word in text for word in ("Options of the sessions", "intra_op_num_threads", "session.disable_prepacking")
    )
