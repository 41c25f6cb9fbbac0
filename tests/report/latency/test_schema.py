"""The JSON Schema of latency reports against reports of every scenario, and against what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from small import DATA

from edgexf.report.latency.report import REPORT_SCHEMA, LatencyReport
from edgexf_runtimes.measure.latency import collected
from edgexf_runtimes.measure.latency.bench import measure
from edgexf_runtimes.measure.latency.plan import Plan

LINFORMER = DATA / "bundles" / "v1" / "linformer"
SCHEMA = json.loads((files("edgexf.report.latency") / "latency.schema.json").read_text(encoding="utf-8"))
SCENARIOS: list[dict[str, Any]] = [
    {"methods": ["gradient"], "dtypes": ["fp32", "q8"], "operators": True},
    {"scenario": "server", "bound_ms": 1e-6, "percentile": 50.0, "operators": True},
    {"scenario": "server", "bound_ms": 10_000.0, "percentile": 50.0},
    {"scenario": "offline", "batches": [1, 4]},
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    logs = tmp_path_factory.mktemp("loadgen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collected, "FEWEST", 1)  # cold starts of a kind are alike
        return measured(logs)


def measured(logs: Path) -> list[dict[str, Any]]:
    quick: dict[str, Any] = {"dtypes": ["fp32"], "queries": 10, "seconds": 0.0, "processes": 1}
    found = [
        measure(LINFORMER, Plan([8], **{**quick, **asked}), logs=logs / str(number))
        for number, asked in enumerate(SCENARIOS)
    ]
    return [json.loads(report.to_json()) for report in found]


def test_the_schema_is_one_and_of_this_version() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema_version"] == {"const": REPORT_SCHEMA}


def test_reports_of_every_scenario_keep_to_the_schema(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        jsonschema.validate(report, SCHEMA)
        assert set(report) == set(SCHEMA["properties"])
        assert LatencyReport.from_json(json.dumps(report)).to_json() == json.dumps(report)
    assert reports[0]["breakdowns"]
    assert reports[0]["options"]["gradient fp32"]["session.disable_prepacking"] == "1"
    assert set(reports[0]["options"]) == {
        f"{graph} {dtype}" for graph in ("predict", "gradient") for dtype in ("fp32", "q8")
    }
    assert [len(report["loadgen"]) for report in reports] == [4, 0, 1, 2]  # a server without a rate has none
    assert reports[0]["stages"]
    assert any(rate["trials"] for report in reports for rate in report["rates"])


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.update(schema_version=2),
        lambda report: report.update(further=1),
        lambda report: report.pop("date"),
        lambda report: report["rows"][0].update(ms=[]),
        lambda report: report["rows"][0].update(ms=[-1]),
        lambda report: report["rows"][0]["of"].update(batch=0),
        lambda report: report["rows"][0].update(joules={"value": None}),
        lambda report: report["rows"][0].update(joules={"value": "much"}),
        lambda report: report["rows"][0].update(joules={"value": 3, "reason": "both"}),
        lambda report: report["starts"][0].update(ms={"first": -1}),
        lambda report: report["quality"][0].update(accuracy=2),
        lambda report: report.update(protocol={"queries": 1}),
        lambda report: report["inputs"].update(kind="other"),
        lambda report: report["inputs"].update(name="a file without a hash"),
        lambda report: report["stages"][0]["ms"].update(run={"value": []}),
        lambda report: report["stages"][0]["ms"].pop("whole"),
        lambda report: report["stages"][0].update(processes=[1] * 1001),
        lambda report: report["rows"][0].update(seconds=5e-324),
    ],
)
def test_what_is_no_report_does_not(reports: list[dict[str, Any]], change: Callable[[dict[str, Any]], object]) -> None:
    report = json.loads(json.dumps(reports[0]))
    change(report)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, SCHEMA)
