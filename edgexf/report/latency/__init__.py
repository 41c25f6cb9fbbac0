"""A latency report: plain values that `edgexf bench` measured, and what they say.

    report      the whole report, with its JSON, which latency.schema.json describes, Markdown and CSV
    tables      the report as headers and cells
    budget      what a figure may be at most
    matrix      the times of several devices beside each other
    changes     what differs between two reports
    devices     which devices reports come from, and what to call them
    validity    how far a report may be relied upon, and why
    measured/   the values of which the report is made, and the statistics of its samples

Data passes from the measured values at the bottom to the report, and from the report to what reads it.
"""

from edgexf.report.latency.report import REPORT_SCHEMA as REPORT_SCHEMA
from edgexf.report.latency.report import LatencyReport as LatencyReport

__all__ = ["REPORT_SCHEMA", "LatencyReport"]
