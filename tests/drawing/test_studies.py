# SPDX-License-Identifier: Apache-2.0
"""What tables and figures of the studies show is what was measured."""

import importlib
import re

import numpy as np
import pytest

from infwidth.catalogue import FIGURES, STUDIES, TABLES, picture_module
from infwidth.drawing.make import build
from infwidth.drawing.style import look
from infwidth.drawing.table import latex, markdown
from infwidth.experiments import measured as reader
from infwidth.experiments.ladder.effects import at_last, effects, extrapolation
from tests.experiments.studies_synthetic import write
from tests.experiments.test_studies_measured import on_a_law, with_slopes

FIGURE_OF = {experiment: name for name, experiment in FIGURES.items() if experiment in STUDIES}


@pytest.mark.parametrize("case", ["full", "quick", "least"])
@pytest.mark.parametrize("name", [n for n, experiment in TABLES.items() if experiment in STUDIES])
def test_tables_have_a_row_an_arm_and_say_what_they_must(measured, name, case):
    measured = measured(FIGURE_OF[TABLES[name]], case)
    table = build(name, measured)
    arms = [(c, *arm) for c in measured.conditions for arm in measured.conditions[c]["arms"]]
    rows = list(zip(*(table.raw[k] for k in ("condition", "variant", "width")), strict=True))
    assert rows[: len(rows) - sum("extrapolated" in row[0] for row in rows)] == [
        arm for arm in arms if arm[2]
    ]
    assert "our reconstruction" in table.caption
    assert "a synthetic corpus" in table.caption
    cells = table.shown.to_numpy().ravel().tolist()
    assert all(isinstance(cell, str) for cell in cells)
    assert not any(re.search(r"\bnan\b|\bNone\b|\binf\b", cell) for cell in cells)
    words = {"worse", "not worse", "unresolved", "too small to judge", "–"}
    assert {*table.shown["found"]} <= words
    assert markdown(table)
    assert latex(table)


def test_a_difference_is_worse_beyond_the_margin_and_not_worse_within(tmp_path):
    table = build("table10_ladder", reader.load(write(tmp_path, "ladder")))
    first = table.raw[table.raw["condition"] == "bytes_500"].set_index("variant")
    assert first.loc["ntk", "difference_nats"] == pytest.approx(0.015, abs=2e-3)
    assert first.loc["ntk", "found"] == "not worse"
    assert first.loc["adam_star", "found"] == "worse"
    assert first.loc["ntk", "train_loss_nats"] == pytest.approx(
        first.loc["ntk", "test_loss_nats"] - 0.25
    )


def test_what_is_predicted_of_the_longest_rung_spans_all_models(tmp_path):
    measured = reader.load(write(tmp_path, "ladder", loss=on_a_law))
    figure = importlib.import_module(picture_module("fig13_ladder")).draw(measured)
    predicted = at_last(extrapolation(measured, "bytes", "adam_star"), 40000).interval(0.95)
    drawn = [
        tuple(path.vertices[:, 1])
        for bars in figure.axes[0].collections
        for path in bars.get_paths()
    ]
    assert (predicted.lower, predicted.upper) in drawn
    # Below, the test loss is above the training loss, but for the line at 0.
    *curves, zero = (line.get_ydata() for line in figure.axes[2].lines)
    assert np.concatenate(curves) == pytest.approx(0.25)
    assert not any(zero)
    table = build("table10_ladder", measured)
    extrapolated = table.raw[table.raw["condition"].str.contains("extrapolated")]
    expected = effects(measured)["predicted_minus_measured"]
    assert list(extrapolated["difference_lower"]) == [e.interval(0.95).lower for e in expected]


def test_settings_are_sorted_by_what_they_do_to_adam_star(tmp_path):
    measured = reader.load(write(tmp_path, "readings", loss=with_slopes))
    curve, board, main = (
        importlib.import_module(picture_module("fig15_readings")).draw(measured).axes
    )
    (star,) = (
        line
        for line in curve.lines
        if line.get_marker() == look("adam_star").marker and len(line.get_xdata()) == 17
    )
    assert list(star.get_ydata()) == sorted(star.get_ydata())
    assert len(board.lines) == 17 * 7
    # The largest slope, of what trains all else, is the last row's.
    drawn = [line for line in main.lines if line.get_marker() == look("adam_star").marker]
    by_row = {round(float(np.ravel(line.get_ydata())[0])): line for line in drawn}
    assert np.ravel(by_row[6].get_xdata())[0] == pytest.approx(0.07)
