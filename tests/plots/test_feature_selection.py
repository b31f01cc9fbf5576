# SPDX-License-Identifier: Apache-2.0
import itertools
from functools import cache

import pytest

from infwidth.drawing.draw import draw_and_save
from infwidth.drawing.style import paper_style
from infwidth.experiments.feature_selection import fig7_feature_selection
from infwidth.experiments.feature_selection import measured as feature_selection
from tests.analysis.feature_selection_synthetic import Truth, write
from tests.plots.test_figures import drawn_texts, overlaps

LEAST = Truth(
    seeds=(10,),
    dimensions=(2,),
    kappas=(1.0,),
    fit_dimensions=(4,),
    widths=(128,),
    steps=(1, 10),
    shares=(0.05,),
)
CASES = {
    "as little as there may be": LEAST,
    "many widths and rates, diverged": Truth(
        kappas=(0.0, 0.03, 0.1, 0.3, 1.0),
        ratio_widths=tuple(4**k for k in range(2, 9)),
        widths=tuple(2**k for k in range(5, 12)),
        shares=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
        diverged=frozenset({("sgd", 512, 10), ("sgd", 512, 11)}),
        edge="unfrozen",
    ),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """By case, the measurements and the figure, drawn once."""

    @cache
    def of(case):
        folder = write(tmp_path_factory.mktemp("measured"), CASES[case])
        measured = feature_selection.load(folder)
        return measured, fig7_feature_selection.draw(measured)

    return of


def said(figure):
    return " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("case", CASES)
def test_texts_lie_inside_the_figure_and_apart(drawn, case):
    _, figure = drawn(case)
    with paper_style():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [
            (text.get_text(), text.get_window_extent(renderer).padded(-1.0))
            for text in drawn_texts(figure)
        ]
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    assert not [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if overlaps(x, y)]
    assert "ADAM* is our reconstruction" in said(figure)
    assert ("diverged and are left out: 2." in said(figure)) == ("diverged" in case)
    edge = "Rates not bracketed by the search: planted, unfrozen." in said(figure)
    assert edge == ("diverged" in case)
    assert ("One seed." in said(figure)) == (CASES[case] is LEAST)


def test_curves_are_where_the_measurements_are(drawn):
    measured, figure = drawn("many widths and rates, diverged")
    curves = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    at = {"dimension": 2, "kappa": 1.0}
    expected = [
        measured.typical("density_ratio", "error", width=4**k, **at).estimate for k in range(2, 9)
    ]
    assert list(curves[r"$D$ = 2, $\kappa$ = 1"].get_ydata()) == pytest.approx(expected)
    (mass,) = (x for x in figure.axes[2].lines if x.get_label() == "ADAM*, frozen")
    at = {"rule": "adam_star", "width": 2048}
    expected = [measured.mean("planted", "aligned", step=s, **at).estimate for s in (1, 10, 100)]
    assert list(mass.get_ydata()) == pytest.approx(expected)
    assert list(curves["SGD, retrained"].get_ydata()) == pytest.approx([0.5] * 6)


def test_same_measurements_same_bytes(tmp_path):
    write(tmp_path / "m", LEAST)
    drawn = [
        draw_and_save("fig7_feature_selection", tmp_path / "m", tmp_path / out)
        for out in ("a", "b")
    ]
    first, second = ([path.read_bytes() for path in paths] for paths in drawn)
    assert first == second
