# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest

from infwidth.drawing.draw import draw_and_save
from infwidth.drawing.style import paper_style
from infwidth.experiments.feature_support import fig8_feature_support
from infwidth.experiments.feature_support import measured as feature_support
from tests.analysis.feature_support_synthetic import Truth, write
from tests.plots.test_figures import drawn_texts, overlaps

CASES = {
    "full": Truth(),
    "every case apart": Truth(left=0.02, trained_left=0.06),
    "many levels": Truth(cases=("total", "cone", "quantised_2", "quantised_3", "quantised_17")),
    "one width, one seed": Truth(widths=(64,), seeds=1),
    "control alone": Truth(cases=("total",), alarms=0),
    "nothing found": Truth(found=0),
}


def said(figure):
    """The small print, which is wrapped to some lines, as one."""
    return " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("case", CASES)
def test_texts_lie_inside_the_figure_and_apart(tmp_path, case):
    figure = fig8_feature_support.draw(feature_support.load(write(tmp_path, CASES[case])))
    with paper_style():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [
            (text.get_text(), text.get_window_extent(renderer).padded(-1.0))
            for text in drawn_texts(figure)
        ]
    assert "is our reconstruction" in said(figure)
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    assert not [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if overlaps(x, y)]


def test_residuals_are_dashed_lines_in_both_panels(tmp_path):
    measured = feature_support.load(write(tmp_path, Truth()))
    figure = fig8_feature_support.draw(measured)
    wanted = sorted(measured.residual(case) for case in measured.limited)
    for axes in figure.axes[-2:]:
        flat = [line.get_ydata() for line in axes.lines if len(set(line.get_xdata())) == 2]
        assert sorted(y[0] for y in flat if y[0] == y[1]) == pytest.approx(wanted)


def test_what_is_not_at_its_residual_is_said(tmp_path):
    figure = fig8_feature_support.draw(feature_support.load(write(tmp_path / "a", Truth())))
    assert "The best readout is at the residual within 0.01 (95%) in every case" in said(figure)
    away = Truth(left=0.02)
    figure = fig8_feature_support.draw(feature_support.load(write(tmp_path / "b", away)))
    assert "within 0.01 (95%), but for total; total, plane; subspace" in said(figure)


def test_same_measurements_same_bytes(tmp_path):
    write(tmp_path / "m", Truth())
    name = "fig8_feature_support"
    drawn = [draw_and_save(name, tmp_path / "m", tmp_path / out) for out in ("a", "b")]
    first, second = ([path.read_bytes() for path in paths] for paths in drawn)
    assert first == second
