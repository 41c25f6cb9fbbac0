"""A latency report: plain values that `edgexf bench` measured, and what they say.

    report       the whole report, with its JSON, which latency.schema.json describes, Markdown and CSV
    tables       the report as headers and cells
    budget       what a figure may be at most
    matrix       the times of several devices beside each other
    changes      what differs between two reports
    devices      which devices reports come from, and what to call them
    validity     how far a report may be relied upon, and why
    rows         what was measured, its samples, and cold starts
    breakdown    where the time of a graph goes
    stages       where the time of one whole answer goes
    rates        samples a second
    loadgen      what MLPerf's LoadGen says
    inputs       which inputs were measured
    quality      how far the answers of a dtype may be relied upon
    statistics   what times say: percentiles, outliers, drift, the change between two processes
    intervals    between which times a percentile lies
    facts        values of a device, or the reason why nobody knows them

Data passes from the facts and samples at the bottom to the report, and from the report to what reads it.
"""

from edgexf.report.latency.report import REPORT_SCHEMA as REPORT_SCHEMA
from edgexf.report.latency.report import LatencyReport as LatencyReport

__all__ = ["REPORT_SCHEMA", "LatencyReport"]
