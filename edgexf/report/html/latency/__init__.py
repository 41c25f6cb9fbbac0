"""The page of a latency report, or of several over each other.

    page       what the page says, section by section
    head       its title, its verdicts, and what was measured
    layers     the layers of the user's model as charts, and where nodes ran
    samples    the samples of the reports as charts
    answers    the stages of whole answers
    bars       their cold starts, resident memory and changes as charts
    charts     their charts over lengths
    plots      plots as inline SVG in the colours of the page, by matplotlib
    raw        the files that the page holds
    words      what the page says below its tables
    template   the template and the style of the page, for Jinja2

Data passes from the reports through the charts to the page.
"""

from edgexf.report.html.latency.page import latency_page as latency_page

__all__ = ["latency_page"]
