# SPDX-License-Identifier: Apache-2.0
"""Figure 9, whatever the measurements are."""

import itertools

import pytest

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.draw import draw_and_save
from infwidth.drawing.style import paper_style
from infwidth.experiments.optimizer_ablation.fig9_optimizer_ablation import draw
from infwidth.experiments.optimizer_ablation.measured import load
from tests.analysis.ablation_synthetic import write
from tests.plots.test_figures import drawn_texts, overlaps

CASES = {
    "full": {},
    "diverged, edges": {"diverged": [("base", "ntk", 10)], "edge": ("base-ntk", "short-frozen")},
    "one seed": {"seeds": (10,)},
    "no contexts": {"contexts": ()},
    "few": {"variants": ("ntk", "frozen"), "contexts": ("short",)},
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
    assert ("†" in said) == ("edges" in case)
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    assert not [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if overlaps(x, y)]


def test_rules_stand_in_the_order_of_their_loss(tmp_path):
    rules = draw(load(write(tmp_path))).axes[0]
    points = [line.get_xdata()[0] for line in rules.lines if line.get_marker() not in ("None", "")]
    assert len(points) == len(ALL_VARIANTS) - 1
    assert points == sorted(points, reverse=True)


def test_same_measurements_same_bytes(tmp_path):
    write(tmp_path / "m")
    first, second = (
        draw_and_save("fig9_optimizer_ablation", tmp_path / "m", tmp_path / out)
        for out in ("a", "b")
    )
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
