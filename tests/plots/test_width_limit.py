# SPDX-License-Identifier: Apache-2.0
"""Figure 12 and table 8, whatever the measurements are."""

import itertools

import pytest

from infwidth.drawing.draw import draw_and_save
from infwidth.drawing.style import paper_style
from infwidth.drawing.table import latex, markdown
from infwidth.experiments.width_limit.fig12_width_limit import draw
from infwidth.experiments.width_limit.measured import load
from infwidth.experiments.width_limit.table8_width_limit import build
from tests.analysis.width_limit_synthetic import write
from tests.plots.test_figures import drawn_texts, overlaps

CASES = {
    "full": {"noise": 0.01},
    "edge, diverged": {"interior": False, "diverged": [("adam_star", "mean-field", 16, 10)]},
    "one seed": {"seeds": (10,), "ntk_seeds": (10,), "variants": ("unfrozen", "adam_star")},
    "two widths": {"widths": (4, 8), "known": ()},
    "many widths": {"widths": tuple(2**k for k in range(4, 15))},
    "all of a variant diverged": {
        "seeds": (10, 11),
        "diverged": [("adam_star", "mean-field", 16, seed) for seed in (10, 11)],
    },
}


def said(figure):
    """The small print, which is wrapped to some lines, as one."""
    return " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("case", CASES)
def test_texts_lie_inside_the_figure_and_apart(tmp_path, case):
    figure = draw(load(write(tmp_path, **CASES[case])))
    with paper_style():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [
            (text.get_text(), text.get_window_extent(renderer).padded(-1.0))
            for text in drawn_texts(figure)
        ]
    assert "ADAM* is our reconstruction" in said(figure)
    assert "one domain" in said(figure)
    assert ("too little to judge" in said(figure)) == (case == "two widths")
    assert ("not interior, κ" in said(figure)) == (case == "edge, diverged")
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    assert not [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if overlaps(x, y)]


def test_the_limits_stand_at_infinity_with_the_range_over_all_models(tmp_path):
    measured = load(write(tmp_path, noise=0.01))
    axes = draw(measured).axes[0]
    named = {
        tick.get_text(): place
        for tick, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
    }
    infinity = named["∞"]
    assert infinity == max(named.values())
    assert "" not in named
    drawn = [
        tuple(path.vertices[:, 1])
        for bars in axes.collections
        for path in bars.get_paths()
        if path.vertices[0, 0] > 0.8 * infinity
    ]
    for comparison in measured.comparisons[:2]:
        limit = measured.difference(comparison)
        for interval in (limit.interval(0.95), limit.fitting_interval(0.95)):
            assert (interval.lower, interval.upper) in drawn


def test_the_table_has_every_loss_difference_and_check(tmp_path):
    measured = load(write(tmp_path, noise=0.01))
    table = build(measured)
    assert list(table.raw["kind"]) == ["loss"] * 4 + ["difference"] * 4 + ["check"] * 2
    row = table.raw[table.raw["label"] == "ADAM* NTK − Unfrozen, 1/√H"].iloc[0]
    effect = measured.difference(measured.comparisons[2]).effect("")
    interval = effect.interval(0.95)
    assert (row["limit"], row["all_lower"], row["all_upper"]) == (
        effect.estimate,
        interval.lower,
        interval.upper,
    )
    assert row["all_lower"] <= row["fitting_lower"] < row["fitting_upper"] <= row["all_upper"]
    assert "our reconstruction" in markdown(table)
    assert "reconstruction" in latex(table)


def test_a_table_of_too_few_widths_says_so(tmp_path):
    table = build(load(write(tmp_path, widths=(4, 8), known=())))
    assert set(table.shown["at ∞"]) == {"–"}
    assert "too little to judge" in table.caption


def test_same_measurements_same_bytes(tmp_path):
    write(tmp_path / "m", noise=0.01)
    drawn = [draw_and_save("fig12_width_limit", tmp_path / "m", tmp_path / o) for o in ("a", "b")]
    first, second = ([path.read_bytes() for path in paths] for paths in drawn)
    assert first == second
