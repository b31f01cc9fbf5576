# SPDX-License-Identifier: Apache-2.0
"""One look for every figure: fonts, sizes, and a colour, marker and line of its own per variant."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib import colors

from infwidth.config.variants import VARIANTS

TEXT_WIDTH = 5.5
"""Inches: the column of a one-column paper (NeurIPS, ICLR, TMLR)."""

SMALL_PRINT = 6.0
LABEL = 7.5

# Fonts and glyphs come with matplotlib, so that every machine draws the same figure.
RC: dict[str, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "xtick.minor.visible": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "figure.dpi": 150.0,
    "savefig.dpi": 300.0,
    "pdf.fonttype": 42,
    "svg.hashsalt": "infwidth",
}


class Look(NamedTuple):
    """How a variant is drawn; each of the three alone tells the variants apart."""

    color: str
    marker: str
    line: tuple[float, tuple[float, ...]] | str

    @property
    def ink(self) -> tuple[float, float, float]:
        """The colour, darkened until text in it is legible on white."""
        red, green, blue = colors.to_rgb(self.color)
        while contrast((red, green, blue)) < 4.5:
            red, green, blue = 0.95 * red, 0.95 * green, 0.95 * blue
        return red, green, blue


# Okabe and Ito's colours: told apart by readers with any common colour vision.
LOOKS: dict[str, Look] = {
    "unfrozen": Look("#000000", "o", "-"),
    "frozen": Look("#0072B2", "s", "-"),
    "ntk": Look("#D55E00", "^", (0, (5, 1.5))),
    "adam_star": Look("#009E73", "D", (0, (5, 1, 1, 1))),
    "ntk_normalized": Look("#E69F00", "v", (0, (2, 1))),
    "adam_star_normalized": Look("#CC79A7", "P", (0, (1, 1))),
    "constant": Look("#777777", "", (0, (1, 2))),
    "adam_star_global": Look("#8C564B", "v", (0, (3, 1))),
    "adam_star_error": Look("#882255", "p", (0, (1, 1))),
    "adam_star_measured": Look("#56B4E9", "X", (0, (7, 1.5, 1, 1.5))),
    "ntk_measured": Look("#B5A800", "<", (0, (4, 1.5))),
    "muon_star": Look("#6A51A3", "h", (0, (2, 1))),
}
_SPARE_COLORS = ("#17BECF", "#C49C94", "#BCBD22")
_SPARE_MARKERS = (">", "*", "d", "8", "H", "1")


def look(variant: str) -> Look:
    """The look of a variant; one without a row above gets a spare that depends on its place."""
    if variant in LOOKS:
        return LOOKS[variant]
    place = [name for name in VARIANTS if name not in LOOKS].index(variant)
    return Look(
        _SPARE_COLORS[place % len(_SPARE_COLORS)],
        _SPARE_MARKERS[place % len(_SPARE_MARKERS)],
        (0, (3 + place, 1, 1, 1, 1, 1)),
    )


def contrast(rgb: tuple[float, float, float]) -> float:
    """Contrast of a colour with white, 1 to 21, as in WCAG 2."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


@contextmanager
def paper_style() -> Iterator[None]:
    """The settings under which figures are drawn and saved, whatever the user's own are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)  # type: ignore[arg-type]
        yield
