# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from infwidth.config.section import TuningSettings
from infwidth.stats.selection import (
    Cell,
    Trial,
    beyond,
    choose,
    count_extensions,
    first_runs,
    next_cells,
    next_runs,
    race_note,
    selection_entry,
)

TOLERANCE = 0.002
RACE = TuningSettings(learning_rates=[0.01, 0.1, 1.0], max_extensions=3, race_margin=0.02)


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
    assert (choice.kappa, choice.extend) == (1.0, None)
    assert choice.wanted == (Cell(0.1, 0.25),)
    assert choice.note == "κ at the lower edge of its grid"


def test_empty_or_mixed_grids_are_refused():
    with pytest.raises(ValueError, match="at least one trial"):
        choose([], TOLERANCE)
    with pytest.raises(ValueError, match="every trial or in none"):
        choose([Trial(0.1, 1.0, 0), Trial(0.1, 1.0, 0, kappa=1.0)], TOLERANCE)


def race(loss, tuning=RACE):
    """Runs a raced search to its end; returns the trials."""
    trials, runs = [], first_runs(map(Cell, tuning.learning_rates), tuning)
    while runs:
        assert not {(Cell(t.learning_rate, t.kappa), t.seed) for t in trials} & set(runs)
        for cell, seed in runs:
            value = loss(cell.learning_rate, seed)
            trials.append(Trial(cell.learning_rate, value, seed, math.isinf(value), cell.kappa))
        runs = next_runs(trials, tuning)
    return trials


def seeds_of(trials):
    """The seeds that each rate ran on."""
    found = {}
    for trial in trials:
        found.setdefault(trial.learning_rate, []).append(trial.seed)
    return found


def table(*rows):
    """A loss out of a table of rates, losses on seed 0 and on seed 1."""
    losses = {(rate, seed): loss for rate, *of in rows for seed, loss in enumerate(of)}
    return lambda rate, seed: losses[rate, seed]


def test_rates_far_behind_on_the_first_seed_run_on_no_other():
    trials = race(table((0.01, 1.7), (0.1, 1.60, 1.60), (1.0, 1.61, 1.62)))
    assert seeds_of(trials)[0.01] == [0]
    assert seeds_of(trials)[0.1] == seeds_of(trials)[1.0] == [0, 1]


def test_a_rate_alone_in_front_has_won():
    trials = race(table((0.01, 1.7), (0.1, 1.6), (1.0, 1.65)))
    assert seeds_of(trials) == {0.01: [0], 0.1: [0], 1.0: [0]}
    choice = choose(trials, TOLERANCE)
    assert (choice.learning_rate, choice.interior) == (0.1, True)


def test_a_rate_out_of_the_race_loses_to_a_worse_mean():
    # 0.01 has 1.63 on its one seed, and fell behind there; 1.0 wins with a mean of 1.655.
    trials = race(table((0.01, 1.63), (0.1, 1.60, 1.80), (1.0, 1.61, 1.70), (10.0, 1.9)))
    choice = choose(trials, TOLERANCE)
    assert choice.learning_rate == 1.0
    assert choice.validation_loss == pytest.approx(1.655)


def test_a_front_that_diverges_on_another_seed_lets_the_next_ones_race():
    # 1.0 and 0.1 race; 1.0 falls, and with it the mark that kept 0.01 out.
    trials = race(table((0.01, 1.65, 1.65), (0.1, 1.64, 1.63), (1.0, 1.625, math.inf)))
    assert seeds_of(trials)[0.01] == [0, 1]
    assert choose(trials, TOLERANCE).learning_rate == 0.1


def test_a_rate_that_joins_later_makes_up_for_the_seeds():
    # 1.0 leads alone; then 10.0, outside of the grid, comes close.
    trials = race(table((0.01, 1.8), (0.1, 1.7), (1.0, 1.60, 1.60), (10.0, 1.59, 1.62)))
    assert seeds_of(trials) == {0.01: [0], 0.1: [0], 1.0: [0, 1], 10.0: [0, 1]}
    assert choose(trials, TOLERANCE).learning_rate == 1.0


def test_where_seeds_agree_a_race_chooses_as_all_runs_do():
    everything = RACE.model_copy(update={"race_margin": None})
    for best in (0.001, 0.02, 0.1, 0.5, 40.0):

        def bowl(rate, seed, best=best):
            return 1.6 + 0.03 * math.log10(rate / best) ** 2 + 0.1 * seed

        raced, whole = race(bowl), race(bowl, everything)
        first, second = (choose(trials, TOLERANCE) for trials in (raced, whole))
        assert first.learning_rate == second.learning_rate
        assert first.interior == second.interior
        assert len(raced) < len(whole)


def test_without_a_race_every_cell_has_every_seed():
    plain = RACE.model_copy(update={"race_margin": None})
    assert set(
        map(tuple, seeds_of(race(lambda r, s: abs(math.log10(r * 10)), plain)).values())
    ) == {(0, 1)}


def test_a_race_of_which_every_rate_diverges_ends():
    trials = race(lambda rate, seed: math.inf)
    assert choose(trials, TOLERANCE).learning_rate is None


def test_captions_say_that_rates_raced():
    assert "within 0.02 of the best on the first" in race_note(RACE.model_dump())
    assert race_note(RACE.model_copy(update={"race_margin": None}).model_dump()) == ""
    assert race_note({}) == ""
