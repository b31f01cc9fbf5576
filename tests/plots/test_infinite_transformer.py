# SPDX-License-Identifier: Apache-2.0
"""Figure 5, whatever the measurements are."""

import itertools

import pytest

from infwidth.drawing.draw import draw_and_save
from infwidth.drawing.style import paper_style
from infwidth.experiments.infinite_lm.fig5_infinite_transformer import draw
from infwidth.experiments.infinite_lm.measured import load
from tests.analysis.infinite_lm_synthetic import write
from tests.plots.test_figures import drawn_texts, overlaps

CASES = {
    "full": {},
    "diverged, edges": {"diverged": [("ntk", 64.0, 10)], "edge": ("ntk", "frozen")},
    "one seed": {"seeds": (10,)},
    "one width": {"widths": (64,), "variants": ("adam_star", "constant"), "infinite": ()},
    "one rule": {"variants": ("adam_star", "frozen", "constant"), "infinite": ("adam_star",)},
    "all of a cell diverged": {"diverged": [("ntk", 64.0, seed) for seed in (10, 11, 12)]},
}


@pytest.mark.parametrize("case", CASES)
def test_texts_lie_inside_the_figure_and_apart(tmp_path, case):
    with paper_style():
        figure = draw(load(write(tmp_path, **CASES[case])))
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [
            (text.get_text(), text.get_window_extent(renderer).padded(-1.0))
            for text in drawn_texts(figure)
        ]
    said = " ".join(text.get_text() for text in figure.texts)
    assert "reconstruction" in said
    assert "one domain" in said
    assert ("†" in said) == ("edges" in case)
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    assert not [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if overlaps(x, y)]


def test_the_infinite_model_stands_right_of_every_width(tmp_path):
    figure = draw(load(write(tmp_path)))
    losses = figure.axes[1]
    open_markers = [
        line for line in losses.lines if line.get_markerfacecolor() == "white" and line.get_marker()
    ]
    assert len(open_markers) == 2
    labels = [tick.get_text() for tick in losses.get_xticklabels()]
    for line in open_markers:
        (x,) = line.get_xdata()
        assert x > 4096
        assert labels[list(losses.get_xticks()).index(x)] == "∞"


def test_same_measurements_same_bytes(tmp_path):
    write(tmp_path / "m")
    first, second = (
        draw_and_save("fig5_infinite_transformer", tmp_path / "m", tmp_path / out)
        for out in ("a", "b")
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
