"""The raw data of a page: files that it holds, behind links.

In: a report. Out: links of the kind ``data:``, which a browser saves without a network and without a script.
"""

from __future__ import annotations

import gzip
import re
from base64 import b64encode
from dataclasses import dataclass

from edgexf.report.latency.report import LatencyReport

UNUSUAL = re.compile(r"[^\w.]+", re.ASCII)  # in the name of a file
# Chromium's bound of an address is 2 MiB (url::kMaxURLChars), though version 156 saves a file of 12 MB all the same. base64
# takes four characters for three bytes.
MOST_BYTES = (2**21 - 100) // 4 * 3


@dataclass(frozen=True)
class Link:
    """A file behind a link: its name, its address and the text of the link."""

    file: str
    href: str
    text: str


def links_of(report: LatencyReport, label: str) -> tuple[list[Link], list[str]]:
    """The links of a report, and sentences about what is too large for one."""
    links, lacking = [], []
    for kind, media, text in (("json", "application/json", report.to_json()), ("csv", "text/csv", report.to_csv())):
        data = text.encode("utf-8", "backslashreplace")
        name = f"{'-'.join(filter(None, ('latency', UNUSUAL.sub('-', label))))}.{kind}"
        if len(data) > MOST_BYTES:
            data, name, media = gzip.compress(data, mtime=0), f"{name}.gz", "application/gzip"
        if len(data) > MOST_BYTES:
            lacking.append(f"{name} is too large for a link of a page; edgexf bench --{kind} writes it.")
            continue
        address = f"data:{media};base64,{b64encode(data).decode('ascii')}"
        links.append(Link(name, address, f"{name} ({len(data):,} bytes)"))
    return links, lacking
