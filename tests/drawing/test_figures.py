# SPDX-License-Identifier: Apache-2.0
"""What holds for every figure, whatever the measurements are."""

import itertools
import json

import matplotlib as mpl
import pytest
from matplotlib.text import Text

from infwidth.catalogue import FIGURES
from infwidth.config.errors import UserError
from infwidth.drawing.make import draw_and_save
from infwidth.drawing.style import paper_style
from tests.drawing.pictures import PICTURES

EVERY_CASE = [(name, case) for name, picture in PICTURES.items() for case in picture.cases]


def said(figure):
    """All texts in one, since small print is wrapped to some lines."""
    return " ".join(text.get_text() for text in figure.findobj(Text))


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


def texts_lie_inside_and_apart(figure):
    """Checks it, and returns how many there are."""
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
    return len(boxes)


def test_every_figure_is_tried():
    assert PICTURES.keys() == FIGURES.keys()


@pytest.mark.parametrize(("name", "case"), EVERY_CASE)
def test_texts_lie_inside_the_figure_and_apart_and_say_what_they_must(drawn, name, case):
    figure = drawn(name, case)
    with paper_style():
        assert texts_lie_inside_and_apart(figure) >= 4
    words = said(figure)
    for phrase, cases in PICTURES[name].said.items():
        assert (phrase in words) == (cases is None or case in cases), phrase


@pytest.mark.parametrize("name", PICTURES)
def test_same_measurements_same_bytes_whatever_the_users_style(tmp_path, name):
    write, cases, _ = PICTURES[name]
    write(tmp_path / "m", **next(iter(cases.values())))
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
    record = json.loads(first[2].read_text())
    assert record["figure"] == name
    assert {len(digest) for digest in record["inputs"].values()} == {64}
    assert record["commit"] == json.loads((tmp_path / "m/settings.json").read_text())["commit"]


def test_unknown_figures_are_named(tmp_path):
    with pytest.raises(UserError, match="fig1_loss_vs_width"):
        draw_and_save("fig9", tmp_path, tmp_path)
