# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest

from infwidth.drawing.draw import draw_and_save
from infwidth.drawing.style import paper_style
from infwidth.experiments.architectures import fig10_architectures
from infwidth.experiments.architectures import measured as architectures
from tests.analysis.architectures_synthetic import Truth, write
from tests.plots.test_figures import drawn_texts, overlaps

EVERY_FROZEN = frozenset(("mlp", "frozen", width, 10 + s) for width in (8, 64) for s in range(2))
CASES = {
    "whole": Truth(),
    "diverged, edges": Truth(
        diverged=frozenset({("cnn", "ntk", 16, 10), ("rnn", "adam_star", 1024, 11)}),
        edge=frozenset({("mlp", "ntk"), ("rnn", "frozen")}),
    ),
    "nearly equal, one architecture": Truth(architectures=("rnn",), scale=0.01, seed_sd=1e-4),
    "one seed, one width, few variants": Truth(
        seeds=1, widths=(64,), variants=("ntk", "adam_star"), architectures=("mlp", "cnn")
    ),
    "intervals beyond zero": Truth(architectures=("mlp",), seeds=2, noise=0.1, scale=3.0),
    "frozen features never finish": Truth(
        architectures=("mlp",),
        widths=(8, 64),
        seeds=2,
        variants=("frozen", "ntk"),
        diverged=EVERY_FROZEN,
    ),
}


def said(figure):
    return " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("case", CASES)
def test_texts_lie_inside_the_figure_and_apart(tmp_path, case):
    figure = fig10_architectures.draw(architectures.load(write(tmp_path, CASES[case])))
    with paper_style():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [
            (text.get_text(), text.get_window_extent(renderer).padded(-1.0))
            for text in drawn_texts(figure)
        ]
    assert "ADAM* is our reconstruction" in said(figure)
    assert "seed draws its training images" in said(figure)
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    assert not [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if overlaps(x, y)]


def test_differences_are_drawn_with_their_intervals(tmp_path):
    measured = architectures.load(write(tmp_path, Truth(architectures=("cnn",))))
    figure = fig10_architectures.draw(measured)
    above, below = figure.axes
    assert above.get_title(loc="left") == "CNN"
    drawn = {
        tuple(line.get_ydata().round(12)) for line in below.lines if len(line.get_xdata()) == 3
    }
    for variant in ("unfrozen", "ntk", "adam_star"):
        effects = [measured.difference("cnn", variant, "frozen", w) for w in measured.widths]
        assert tuple(round(effect.estimate, 12) for effect in effects) in drawn
    assert len(below.collections) == 5 * 3
    assert "5 seeds" in said(figure)


def test_runs_that_diverged_and_rates_at_an_edge_are_said(tmp_path):
    figure = fig10_architectures.draw(architectures.load(write(tmp_path, CASES["diverged, edges"])))
    assert "× 2 runs diverged" in said(figure)
    assert "Not interior: NTK (SGD) in the MLP" in said(figure)
    assert "Frozen features in the RNN" in said(figure)
    crosses = [
        line
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() == "x" and len(line.get_xdata())
    ]
    assert len(crosses) == 2


def test_bars_that_reach_zero_do_not_stretch_a_logarithmic_axis(tmp_path):
    measured = architectures.load(write(tmp_path, CASES["intervals beyond zero"]))
    cells = [measured.loss("mlp", v, w) for v in measured.variants for w in measured.widths]
    assert min(cell.lower for cell in cells) < 0
    low, high = fig10_architectures.draw(measured).axes[0].get_ylim()
    assert low > 0.4 * min(cell.estimate for cell in cells)
    assert high < 2.3 * max(cell.estimate for cell in cells)


def test_same_measurements_same_bytes(tmp_path):
    write(tmp_path / "m", CASES["nearly equal, one architecture"])
    drawn = [
        draw_and_save("fig10_architectures", tmp_path / "m", tmp_path / out) for out in ("a", "b")
    ]
    first, second = ([path.read_bytes() for path in paths] for paths in drawn)
    assert first == second
