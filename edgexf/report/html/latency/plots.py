"""Plots as inline SVG in the colours of the page, light and dark.

In: a function that draws on a figure of matplotlib, in the colours of `INK` to `SERIES`. Out: the SVG element as text.

matplotlib knows no themes. Two drawings of each plot, one for each theme, were the alternative, at twice the size. Here a
drawing has placeholders for colours, and `themed` puts the page's CSS variables in their place. Text stays text, in the
fonts of the page; it is never read as mathematics, because names come from outside. The same report gives the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("ink", "soft", "line", "paper", "mild", "severe", *(f"s{place}" for place in range(8)))
COLOURS = {f"#0000{place:02x}": f"var(--{name})" for place, name in enumerate(NAMES, 1)}
INK, SOFT, LINE, PAPER, MILD, SEVERE, *SERIES = COLOURS
MARKERS, SIGNS, HOLLOW = "os^Dv", "●■▲◆▼", "○□△◇▽"  # of matplotlib, and in legends
NARROW, WIDE = 350, 580  # CSS pixels: of a phone, and of a column of a desktop
POINTS = 72  # matplotlib's points in an inch: a point of a drawing is a CSS pixel of the page
SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": False,
    "figure.facecolor": "none",
    "font.size": 11,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "path.simplify": False,  # it leaves out points
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.color": LINE,
    "ytick.labelcolor": SOFT,
}


def drawn(draw: Callable[[Figure], object], label: str, key: str, width: int = WIDE, height: int = 300) -> str:
    """The SVG of a plot in CSS pixels. `label` says to a screen reader what it shows; `key` must be its own on the page."""
    from matplotlib.figure import Figure

    text = io.BytesIO()
    with settings(f"{key} {width}"):
        figure = Figure(figsize=(width / POINTS, height / POINTS), dpi=POINTS, layout="constrained")
        draw(figure)
        figure.savefig(text, format="svg", metadata={"Date": None})
    return themed(text.getvalue(), label)


@contextmanager
def settings(salt: str) -> Iterator[None]:
    """matplotlib's own settings with ours in them, whatever a user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # It measures text by its own font; the browser has fonts for the characters that this one lacks.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**SETTINGS, "svg.hashsalt": salt})
        yield


def themed(svg: bytes, label: str) -> str:
    """Takes from a drawing what a page must not have: the sheet of styles, which would hold for the whole page, names that
    nothing refers to, and fonts. Colours become those of the page.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 (matplotlib has written it)
    for parent in list(root.iter()):
        for child in list(parent):
            if plain(child.tag) in ("metadata", "style"):
                parent.remove(child)
    used = {name for element in root.iter() for value in element.attrib.values() for name in REFERENCE.findall(value)}
    for element in root.iter():
        element.tag = plain(element.tag)
        element.attrib = {
            plain(name): changed(plain(name), value) for name, value in element.attrib.items() if name != "id" or value in used
        }  # fmt: skip
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")


REFERENCE = re.compile(r"#([A-Za-z]\w+)")
NUMBER = re.compile(r"(\d+\.\d\d)\d+")
FONT = re.compile(r"font-family: [^;]*;?")
DOT = re.compile(r"M (\S+ \S+) +L \1(?= |$)")


def plain(name: str) -> str:
    """A name of XML without its namespace, as HTML writes it."""
    return name.rpartition("}")[2]


def changed(name: str, value: str) -> str:
    if name in ("d", "x", "y", "transform"):
        return DOT.sub(r"M\1h0", " ".join(NUMBER.sub(r"\1", value).split()))
    if name != "style":
        return value
    value = FONT.sub("", value)
    for colour, variable in COLOURS.items():
        value = value.replace(colour, variable)
    return value


def dots(axes: Axes, x: Any, y: Any, colour: str, size: float = 3.0) -> None:
    """Draws points as one path of strokes without length, a third of the size of matplotlib's markers."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    places = np.repeat(np.column_stack([x, y]), 2, axis=0)
    if len(places):
        path = Path(places, np.tile([Path.MOVETO, Path.LINETO], len(places) // 2))
        axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=size, capstyle="round"))


def log_ticks(low: float, high: float) -> list[float]:
    """Round values between two positive ones, for an axis in logarithms: 1, 2, 5, 10; or evenly spaced ones."""
    from matplotlib.ticker import MaxNLocator

    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digits in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        found = [digit * 10.0**power for power in powers for digit in digits if low <= digit * 10.0**power <= high]
        if len(found) >= 4:
            return found[:: -(-len(found) // 8)]
    return [float(tick) for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]


def log_axis(axis: Any, ticks: list[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axis.set_minor_locator(NullLocator())
