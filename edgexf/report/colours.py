"""The colours of relevance.

In: a score and the largest |score|. Out: a step of colour, the sRGB colour of a step, and its CSS text.
"""

from __future__ import annotations

import math

LEVELS = 20  # steps of colour on each side of zero


INK = (17, 17, 17)  # the colour of text on every background


END_LIGHTNESS, END_CHROMA = 0.64, 0.15


HUE_AGAINST, HUE_FOR = 252.0, 58.0  # degrees in OKLCH: blue and orange, distinct in every common colour blindness


Colour = tuple[int, int, int]


def colour_level(score: float, peak: float) -> int:
    """The step of colour, -LEVELS to LEVELS, linear in the score; a score of `peak` gets the last step."""
    return round(LEVELS * score / peak) if peak else 0


def colour(level: int) -> Colour:
    """The sRGB colour of a step: white at 0, orange above, blue below.

    The line from white to either end is straight in OKLab (Ottosson 2020). Lightness and chroma are the same on both
    sides, so scores of equal size look equally strong.
    """
    share = abs(level) / LEVELS
    hue = math.radians(HUE_FOR if level > 0 else HUE_AGAINST)
    chroma = END_CHROMA * share
    return _srgb(1 - (1 - END_LIGHTNESS) * share, chroma * math.cos(hue), chroma * math.sin(hue))


def _srgb(lightness: float, a: float, b: float) -> Colour:
    """Converts OKLab to sRGB with the matrices of the OKLab definition."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        _gamma(4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short),
        _gamma(-1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short),
        _gamma(-0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short),
    )


def _gamma(linear: float) -> int:
    """Converts a linear share of light, 0 to 1, to an sRGB value, 0 to 255."""
    light = min(max(linear, 0.0), 1.0)
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


def hex_colour(rgb: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
