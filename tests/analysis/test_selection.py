# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from infwidth.analysis.selection import (
    Cell,
    Trial,
    beyond,
    choose,
    count_extensions,
    next_cells,
    selection_entry,
)

TOLERANCE = 0.002


def line(losses, rates=(0.01, 0.1, 1.0), kappa=None):
    """One trial a rate; None is a run that diverged."""
    return [
        Trial(rate, math.nan if loss is None else loss, 0, loss is None, kappa)
        for rate, loss in zip(rates, losses, strict=True)
    ]


def test_interior_needs_both_neighbours_worse_by_more_than_the_tolerance():
    inside = choose(line([1.70, 1.60, 1.65]), TOLERANCE)
    assert (inside.learning_rate, inside.interior, inside.extend) == (0.1, True, None)
    assert inside.wanted == ()
    flat = choose(line([1.601, 1.60, 1.65]), TOLERANCE)
    assert (flat.learning_rate, flat.interior, flat.extend) == (0.01, False, "lower")


@pytest.mark.parametrize(
    ("losses", "side", "cell"),
    [([1.6, 1.7, 1.8], "lower", 0.001), ([1.8, 1.7, 1.6], "higher", 10.0)],
)
def test_best_at_an_edge_asks_for_one_more_log_step(losses, side, cell):
    choice = choose(line(losses), TOLERANCE)
    assert choice.extend == side
    assert choice.wanted == (Cell(cell),)
    assert f"{side} edge" in choice.note


def test_plateau_takes_the_smallest_rate_and_is_interior_when_bracketed():
    rates = (0.01, 0.03, 0.1, 0.3, 1.0)
    choice = choose(line([1.7, 1.601, 1.6, 1.6015, 1.7], rates), TOLERANCE)
    assert (choice.learning_rate, choice.interior) == (0.03, True)


def test_plateau_that_reaches_the_upper_edge_is_extended_there():
    choice = choose(line([1.7, 1.601, 1.6]), TOLERANCE)
    assert (choice.learning_rate, choice.interior, choice.extend) == (0.1, False, "higher")


def test_grid_without_any_slope_is_extended_towards_its_better_end():
    assert choose(line([1.6, 1.6, 1.6]), TOLERANCE).extend == "lower"
    assert choose(line([1.601, 1.6, 1.6]), TOLERANCE).extend == "higher"


def test_diverged_neighbour_brackets_and_one_diverged_seed_loses_the_cell():
    assert choose(line([1.7, 1.6, None]), TOLERANCE).interior
    trials = [*line([1.7, 1.6, 1.5]), Trial(1.0, math.nan, 1, True)]
    assert choose(trials, TOLERANCE).learning_rate == 0.1
    not_finite = [*line([1.7, 1.6, 1.5]), Trial(1.0, math.inf, 1)]
    assert choose(not_finite, TOLERANCE).learning_rate == 0.1


def test_mean_over_seeds_decides():
    trials = line([1.7, 1.6, 1.7]) + [
        Trial(rate, loss, 1) for rate, loss in ((0.01, 1.3), (0.1, 1.6), (1.0, 1.7))
    ]
    assert choose(trials, TOLERANCE).learning_rate == 0.01


def test_all_diverged_is_said_and_smaller_rates_are_wanted():
    choice = choose(line([None, None, None]), TOLERANCE)
    assert choice.learning_rate is None
    assert not choice.interior
    assert choice.note == "every learning rate diverged"
    assert choice.wanted == (Cell(0.001),)
    entry = selection_entry(line([None, None, None]), TOLERANCE)
    assert entry["learning_rate"] is None
    assert {row["mean_validation_loss"] for row in entry["trials"]} == {None}


@pytest.mark.parametrize(
    ("grid", "lower", "higher"),
    [
        ((0.1, 1.0, 10.0), 0.01, 100.0),
        ((1.0, 3.0, 10.0), 0.3, 30.0),
        ((3.0, 10.0, 30.0), 1.0, 100.0),
        ((1.0, 4.0), 0.25, 16.0),
        ((2.0,), 0.2, 20.0),
    ],
)
def test_grids_continue_as_they_began(grid, lower, higher):
    assert (beyond(grid, "lower"), beyond(grid, "higher")) == (lower, higher)


def search(loss, rates, kappas, budget):
    """Runs the loop that an experiment runs; returns the trials."""
    cells = [Cell(rate, kappa) for rate in rates for kappa in kappas]
    trials = []
    while cells:
        assert not {(trial.learning_rate, trial.kappa) for trial in trials} & set(cells)
        trials += [Trial(cell.learning_rate, loss(cell), 0, False, cell.kappa) for cell in cells]
        used = count_extensions(trials, rates, [k for k in kappas if k is not None])
        cells = next_cells(trials, TOLERANCE, budget - used)
    return trials


def test_search_walks_to_an_optimum_outside_the_grid():
    trials = search(lambda c: (math.log10(c.learning_rate) - 2) ** 2, (0.01, 0.1, 1.0), (None,), 5)
    choice = choose(trials, TOLERANCE)
    assert (choice.learning_rate, choice.interior) == (100.0, True)
    assert count_extensions(trials, (0.01, 0.1, 1.0)) == 3


def test_search_stops_at_its_budget_and_says_so():
    trials = search(lambda c: -math.log(c.learning_rate), (0.01, 0.1, 1.0), (None,), 2)
    choice = choose(trials, TOLERANCE)
    assert count_extensions(trials, (0.01, 0.1, 1.0)) == 2
    assert (choice.learning_rate, choice.interior, choice.extend) == (100.0, False, "higher")


def test_two_axes_follow_the_same_rule_each():
    def bowl(cell):
        return math.log10(cell.learning_rate) ** 2 + math.log(cell.kappa / 16, 4) ** 2

    trials = search(bowl, (0.1, 1.0, 10.0), (1.0, 4.0), 3)
    choice = choose(trials, TOLERANCE)
    assert (choice.learning_rate, choice.kappa, choice.interior) == (1.0, 16.0, True)
    # κ = 16 is the optimum, 64 brackets it; rates beside it are run inside the grid, for free.
    assert count_extensions(trials, (0.1, 1.0, 10.0), (1.0, 4.0)) == 2
    assert {Cell(0.1, 16.0), Cell(10.0, 16.0)} <= {Cell(t.learning_rate, t.kappa) for t in trials}


def test_an_edge_along_kappa_is_named():
    trials = [t for k, best in ((1.0, 1.5), (4.0, 1.6)) for t in line([1.7, best, 1.7], kappa=k)]
    choice = choose(trials, TOLERANCE)
    assert (choice.kappa, choice.extend, choice.extend_kappa) == (1.0, None, "lower")
    assert choice.wanted == (Cell(0.1, 0.25),)
    assert choice.note == "κ at the lower edge of its grid"


def test_empty_or_mixed_grids_are_refused():
    with pytest.raises(ValueError, match="at least one trial"):
        choose([], TOLERANCE)
    with pytest.raises(ValueError, match="every trial or in none"):
        choose([Trial(0.1, 1.0, 0), Trial(0.1, 1.0, 0, kappa=1.0)], TOLERANCE)
