# SPDX-License-Identifier: Apache-2.0
"""Figure 17: rules for the readout at exactly infinite width, on digits."""

from matplotlib.figure import Figure

from infwidth.drawing.layout import key, new_figure, set_margins, small_print
from infwidth.drawing.style import TEXT_WIDTH, Look, look, paper_style
from infwidth.experiments.infinite_rules.measured import (
    KERNEL_LABELS,
    LABELS,
    REFERENCE,
    InfiniteRules,
)
from infwidth.experiments.panels import ROW, difference_point, difference_rows, stripes

_STYLES = {
    "plain": look("adam_star"),
    "normalized": look("adam_star_normalized"),
    "shifted": Look("#555555", "o", "-"),
    "measured": look("adam_star_measured"),
}
_TOP, _BOTTOM, _RIGHT, _KEY = 0.4, 0.42, 0.12, 0.08


@paper_style()
def draw(measured: InfiniteRules) -> Figure:
    """A row a rule, a point a kernel: loss less that of Adam on frozen features."""
    rules = list(dict.fromkeys(rule for rule, _ in measured.arms))
    kernels = [kernel for kernel in _STYLES if kernel in {kernel for _, kernel in measured.arms}]
    foot = small_print(new_figure(TEXT_WIDTH, 1.0), _print(measured))
    tall = len(rules) * ROW
    figure = new_figure(TEXT_WIDTH, foot + tall + _TOP + _BOTTOM)
    small_print(figure, _print(measured))
    axes = figure.subplots(1, 1)
    for rule, kernel in measured.arms:
        if (rule, kernel) != REFERENCE:
            row = rules.index(rule) + 0.18 * (list(_STYLES).index(kernel) - 1.5)
            interval = measured.difference(rule, kernel).interval(measured.confidence)
            difference_point(axes, interval, row, _STYLES[kernel])
    stripes(axes, len(rules))
    difference_rows(axes, [LABELS[rule] for rule in rules], "at infinite width, digits")
    axes.set_xlabel("loss − Adam on frozen features, nats per image")
    set_margins(figure, _RIGHT, _TOP, foot + _BOTTOM)
    names = [(KERNEL_LABELS[kernel], _STYLES[kernel]) for kernel in kernels]
    key(figure, foot + _BOTTOM + tall + _KEY, _RIGHT, names)
    return figure


def _print(measured: InfiniteRules) -> str:
    seeds = len(measured.seeds)
    return " ".join(
        [
            f"Paired by seed, {seeds} seeds, {measured.confidence:.0%} t intervals."
            if seeds > 1
            else "One seed.",
            "Each rule is tuned by itself with each kernel; 0 is elementwise Adam on "
            f"{measured.settings['width']:,} frozen ReLU features.",
            "Adam and D have that finite width; all else is infinitely wide.",
            "ADAM* is our reconstruction of the paper's rule; the other starred rules are ours.",
        ]
    )
