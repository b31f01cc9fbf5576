# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import pytest

from infwidth.drawing.draw import draw_and_save
from infwidth.drawing.style import paper_style
from infwidth.experiments.expected_value import fig6_expected_value
from infwidth.experiments.expected_value import measured as expected_value
from infwidth.experiments.memory import fig11_memory
from infwidth.experiments.memory import measured as memory
from tests.analysis import expected_value_synthetic, memory_synthetic
from tests.analysis.expected_value_synthetic import Truth
from tests.plots.test_figures import drawn_texts, overlaps


def of_truth(**values):
    return lambda folder: expected_value.load(
        expected_value_synthetic.write(folder, Truth(**values))
    )


def of_sizes(**values):
    return lambda folder: memory.load(memory_synthetic.write(folder, **values))


CASES = {
    "resolved": (fig6_expected_value, of_truth()),
    "biased": (fig6_expected_value, of_truth(fixed_bias=0.2, fixed_widths=(1, 4, 16, 64))),
    "unresolved": (fig6_expected_value, of_truth(bias=0.0)),
    "one width": (fig6_expected_value, of_truth(fixed_widths=(8,), trained_widths=(16,))),
    "one case": (fig6_expected_value, of_truth(cases=("adam_star",))),
    "memory": (fig11_memory, of_sizes()),
    "many widths": (fig11_memory, of_sizes(widths=tuple(2**k for k in range(6, 17, 2)))),
    "nothing crossed": (fig11_memory, of_sizes(widths=(1, 2))),
    "one size, no process": (fig11_memory, of_sizes(inputs=(4096,), resident=False)),
}


def said(figure):
    """The small print, which is wrapped to some lines, as one."""
    return " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("case", CASES)
def test_texts_lie_inside_the_figure_and_apart(tmp_path, case):
    module, load = CASES[case]
    figure = module.draw(load(tmp_path))
    with paper_style():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [
            (text.get_text(), text.get_window_extent(renderer).padded(-1.0))
            for text in drawn_texts(figure)
        ]
    assert "ADAM* is our reconstruction" in said(figure)
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    assert not [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if overlaps(x, y)]


def test_an_unresolved_bias_is_an_arrow_and_is_said(tmp_path):
    measured = CASES["unresolved"][1](tmp_path)
    figure = fig6_expected_value.draw(measured)
    arrows = [line for line in figure.axes[1].lines if line.get_marker() == 7]
    lost = [c for case in measured.cases for c in measured.trained(case) if not c.resolved]
    assert len(arrows) == sum(cell.bias.upper > 0 for cell in lost) > 0
    assert "Not resolved" in said(figure)
    resolved = CASES["resolved"][1](tmp_path)
    assert "Not resolved" not in said(fig6_expected_value.draw(resolved))


def test_a_biased_fixed_half_is_crossed_and_said(tmp_path):
    figure = fig6_expected_value.draw(CASES["biased"][1](tmp_path))
    assert "is not within that error at H = 1, 4, 16, 64 (crosses)" in said(figure)
    figure = fig6_expected_value.draw(CASES["resolved"][1](tmp_path))
    assert "is within that error at every width" in said(figure)


def test_the_crossings_are_drawn_where_they_are(tmp_path):
    measured = CASES["memory"][1](tmp_path)
    figure = fig11_memory.draw(measured)
    (dots,) = (line for line in figure.axes[0].lines if line.get_linestyle() == ":")
    reached = [c for c in measured.crossings("state") if math.isfinite(c.inputs)]
    assert list(dots.get_xdata()) == [crossing.inputs for crossing in reached]
    assert list(dots.get_ydata()) == [crossing.size for crossing in reached]
    assert "t = 3.00 H in what is kept" in said(figure)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("fig6_expected_value", lambda folder: expected_value_synthetic.write(folder, Truth())),
        ("fig11_memory", memory_synthetic.write),
    ],
)
def test_same_measurements_same_bytes(tmp_path, name, write):
    write(tmp_path / "m")
    drawn = [draw_and_save(name, tmp_path / "m", tmp_path / out) for out in ("a", "b")]
    first, second = ([path.read_bytes() for path in paths] for paths in drawn)
    assert first == second
