# SPDX-License-Identifier: Apache-2.0
import dataclasses
import importlib
import itertools
import json

import matplotlib as mpl
import pytest
from matplotlib.text import Text

from infwidth.catalogue import FIGURES, figure_module
from infwidth.config.errors import UserError
from infwidth.drawing.draw import draw_and_save
from infwidth.drawing.style import paper_style
from infwidth.experiments.lm_width.measured import Measurements
from tests.analysis.synthetic import Truth, write

BASE = Truth(widths=(64, 256, 1024), seeds=3)
CASES = {
    "full": BASE,
    "one seed, nearly equal": dataclasses.replace(
        BASE, widths=(32, 64), reference_width=64, seeds=1, spread=0.003, seed_sd=5e-4, steps=100
    ),
    "diverged, edges, a proxy": dataclasses.replace(
        BASE,
        widths=(64, 256, 16_384),
        diverged=frozenset({("ntk", 16_384, 10)} | {("adam_star", 256, s) for s in (10, 11, 12)}),
        edge=frozenset({"frozen", "ntk_normalized"}),
    ),
    "one width, few variants": dataclasses.replace(BASE, widths=(256,), variants=("ntk", "frozen")),
    "no baseline": dataclasses.replace(BASE, variants=("ntk", "adam_star", "constant")),
    "nothing finished": dataclasses.replace(
        BASE,
        widths=(256,),
        variants=("ntk", "frozen"),
        diverged=frozenset({(v, 256, s) for v in ("ntk", "frozen") for s in (10, 11, 12)}),
        all_rates_diverge=frozenset({"ntk", "frozen"}),
    ),
    "control alone": dataclasses.replace(BASE, variants=("constant",)),
}

OF_WIDTH = [name for name, experiment in FIGURES.items() if experiment == "lm_width"]


@pytest.fixture(scope="module", params=CASES)
def measured(request, tmp_path_factory):
    return Measurements.load(write(tmp_path_factory.mktemp("figures"), CASES[request.param]))


def overlaps(first, second):
    """Whether two boxes share more than a pixel's breadth, which antialiasing may blur."""
    across = min(first.x1, second.x1) - max(first.x0, second.x0)
    along = min(first.y1, second.y1) - max(first.y0, second.y0)
    return across > 1 and along > 1


def drawn_texts(figure):
    """Every text of a figure but the labels of ticks outside the limits, which are never drawn."""
    texts = set(figure.findobj(Text))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            texts -= set(axis.findobj(Text)) - {axis.label}
            low, high = sorted(axis.get_view_interval())
            texts |= {t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high}
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize("name", OF_WIDTH)
def test_texts_lie_inside_the_figure_and_apart(measured, name):
    with paper_style():
        figure = importlib.import_module(figure_module(name)).draw(measured)
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        boxes = [
            (text.get_text(), text.get_window_extent(renderer).padded(-1.0))
            for text in drawn_texts(figure)
        ]
    assert any("one domain" in text for text, _ in boxes)
    assert len(boxes) >= 4
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    clashes = [(a, b) for (a, x), (b, y) in itertools.combinations(boxes, 2) if overlaps(x, y)]
    assert not clashes


@pytest.mark.parametrize("name", OF_WIDTH)
def test_same_measurements_same_bytes_whatever_the_users_style(tmp_path, name):
    write(tmp_path / "m", BASE)
    first = draw_and_save(name, tmp_path / "m", tmp_path / "a")
    with mpl.rc_context({"font.size": 20, "pdf.fonttype": 3, "savefig.dpi": 30}):
        second = draw_and_save(name, tmp_path / "m", tmp_path / "b")
    assert [p.name for p in first] == [f"{name}{suffix}" for suffix in (".pdf", ".png", ".json")]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    pdf = first[0].read_bytes()
    assert b"/CIDFontType2" in pdf
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"Date" not in pdf


def test_provenance_names_inputs_settings_and_commit(tmp_path):
    write(tmp_path / "m", BASE)
    paths = draw_and_save("fig1_loss_vs_width", tmp_path / "m", tmp_path)
    record = json.loads(paths[2].read_text())
    assert record["figure"] == "fig1_loss_vs_width"
    assert len(record["inputs"]["runs.parquet"]) == 64
    assert record["settings"]["lm_width"]["widths"] == [64, 256, 1024]
    assert record["commit"] == "0" * 40


def test_a_rate_that_is_not_interior_is_marked_on_every_figure(tmp_path):
    truth = dataclasses.replace(BASE, edge=frozenset({"frozen"}))
    measured = Measurements.load(write(tmp_path, truth))
    for name in OF_WIDTH:
        figure = importlib.import_module(figure_module(name)).draw(measured)
        texts = " ".join(text.get_text() for text in figure.findobj(Text))
        assert "Frozen features †" in texts
        assert "ADAM* NTK †" not in texts
        assert "† Not interior" in texts


def test_unknown_figures_are_named(tmp_path):
    with pytest.raises(UserError, match="fig1_loss_vs_width"):
        draw_and_save("fig9", tmp_path, tmp_path)
