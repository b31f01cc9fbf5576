# SPDX-License-Identifier: Apache-2.0
"""The tuning rule: which learning rate (and κ) a variant runs with, and which to try next.

Every variant is tuned by this one rule, on tuning seeds, by validation loss:

- a cell (learning rate, κ) is worth its mean validation loss over the tuning seeds, and infinitely
  much if any of its runs diverged;
- the plateau is every cell within the tolerance of the best; the smallest rate on it is taken (and
  the smallest κ at that rate);
- the choice is interior if, along each axis, the cells next to the plateau on both sides were run
  and are worse by more than the tolerance;
- otherwise the cells that are missing next to it are run, where need be outside the grid, one log
  step at a time;
- where the settings have a race, every cell runs on the first seed, and those that trail the best
  of them by no more than the margin run on the other seeds too (a race, as of Maron and Moore,
  1994, with one fixed margin); the rest count as worse.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from infwidth.config.section import TuningSettings

Side = Literal["lower", "higher"]


class Cell(NamedTuple):
    """A point of the grid; κ is None where the features do not train."""

    learning_rate: float
    kappa: float | None = None


class Trial(NamedTuple):
    """One tuning run: its place on the grid, its seed, its validation loss in nats per token."""

    learning_rate: float
    validation_loss: float
    seed: int
    diverged: bool = False
    kappa: float | None = None


@dataclass(frozen=True)
class Choice:
    """What the rule says of the trials so far.

    Attributes:
        learning_rate: the chosen rate; None if every cell diverged.
        kappa: the chosen κ; None on a grid without κ.
        validation_loss: mean over tuning seeds at the choice, nats per token; inf if none.
        interior: both neighbours along each axis were run and are worse beyond the tolerance.
        extend: the side on which the grid of rates ends too soon, if any.
        wanted: cells that were not run and that the rule asks for next.
        note: the outcome in words, fit for a table.
    """

    learning_rate: float | None
    kappa: float | None
    validation_loss: float
    interior: bool
    extend: Side | None
    wanted: tuple[Cell, ...]
    note: str


class _Axis(NamedTuple):
    """How the plateau lies along one axis through the chosen cell."""

    bracketed: bool
    extend: Side | None
    wanted: tuple[float, ...]


def mean_losses(trials: Iterable[Trial]) -> dict[Cell, float]:
    """Mean validation loss of each cell over its seeds, nats per token; inf if any run diverged."""
    losses: dict[Cell, list[float]] = {}
    for trial in trials:
        lost = trial.diverged or not math.isfinite(trial.validation_loss)
        cell = Cell(trial.learning_rate, trial.kappa)
        losses.setdefault(cell, []).append(math.inf if lost else trial.validation_loss)
    return {cell: math.fsum(values) / len(values) for cell, values in sorted(losses.items())}


def beyond(grid: Sequence[float], side: Side) -> float:
    """The next value outside a log grid.

    The step is the one before last at that end, so that both 1, 10, 100 and 1, 3, 10 continue as
    their reader expects (1000; 30); a lone value steps by 10. It is rounded to six digits, since
    rates name runs.
    """
    if len(grid) < 3:
        step = grid[-1] / grid[0] if len(grid) == 2 else 10.0
        value = grid[-1] * step if side == "higher" else grid[0] / step
    elif side == "higher":
        value = grid[-1] * (grid[-2] / grid[-3])
    else:
        value = grid[0] / (grid[2] / grid[1])
    return float(f"{value:.6g}")


def neighbours(chosen: float, rates: Iterable[float]) -> tuple[float, float]:
    """The rates of a grid next to a chosen one, below and above; it goes on beyond its ends."""
    some = sorted(rates)
    below = [rate for rate in some if rate < chosen]
    above = [rate for rate in some if rate > chosen]
    return (
        below[-1] if below else beyond(some, "lower"),
        above[0] if above else beyond(some, "higher"),
    )


def choose(trials: Sequence[Trial], tolerance: float) -> Choice:
    """Applies the tuning rule to all tuning runs of one variant so far.

    Args:
        trials: on a grid of rates, or of rates and κ.
        tolerance: difference in mean validation loss that counts as none, nats per token.

    Raises:
        ValueError: no trials, or some with κ and some without.
    """
    if not trials:
        raise ValueError("choose() needs at least one trial")
    if len({trial.kappa is None for trial in trials}) > 1:
        raise ValueError("a grid has κ in every trial or in none")
    means = _worths(trials)
    rates = sorted({cell.learning_rate for cell in means})
    best = min(means.values())
    if math.isinf(best):
        lower = Cell(beyond(rates, "lower"), min(means).kappa)
        note = "every learning rate diverged"
        return Choice(None, None, math.inf, False, "lower", (lower,), note)
    plateau = {cell for cell, mean in means.items() if mean <= best + tolerance}
    chosen = min(plateau)

    def along_rates(rate: float) -> Cell:
        return Cell(rate, chosen.kappa)

    def along_kappas(kappa: float) -> Cell:
        return Cell(chosen.learning_rate, kappa)

    rate_axis = _bracket(rates, along_rates, plateau, means)
    kappa_axis = _Axis(True, None, ())
    if chosen.kappa is not None:
        kappas = sorted({cell.kappa for cell in means if cell.kappa is not None})
        kappa_axis = _bracket(kappas, along_kappas, plateau, means)
    wanted = (*map(along_rates, rate_axis.wanted), *map(along_kappas, kappa_axis.wanted))
    return Choice(
        chosen.learning_rate,
        chosen.kappa,
        means[chosen],
        rate_axis.bracketed and kappa_axis.bracketed,
        rate_axis.extend,
        wanted,
        _note(rate_axis, kappa_axis),
    )


def next_cells(trials: Sequence[Trial], tolerance: float, extensions_left: int) -> list[Cell]:
    """Cells to run before choosing again; empty when the search is over.

    Cells inside the grid that were never run are free; those outside it need the budget. Call in a
    loop with all trials so far: it ends, since every cell named is new and the budget, log steps
    that may still be added to either axis, is finite.
    """
    rates = {trial.learning_rate for trial in trials}
    kappas = {trial.kappa for trial in trials}
    inside: list[Cell] = []
    outside: list[Cell] = []
    for cell in choose(trials, tolerance).wanted:
        known = cell.learning_rate in rates and cell.kappa in kappas
        (inside if known else outside).append(cell)
    return inside + outside[: max(extensions_left, 0)]


def next_runs(trials: Sequence[Trial], tuning: TuningSettings) -> list[tuple[Cell, int]]:
    """The tuning runs that follow, as (cell, seed); empty when the search is over.

    Among the trials so far must be those of the grid on the first seed.
    """
    if tuning.race_margin is not None:
        lacking = _lacking_in_race(trials, tuning.seeds, tuning.race_margin)
        if lacking:
            return lacking
    used = count_extensions(trials, tuning.learning_rates, tuning.kappas)
    return first_runs(next_cells(trials, tuning.tolerance, tuning.max_extensions - used), tuning)


def first_runs(cells: Iterable[Cell], tuning: TuningSettings) -> list[tuple[Cell, int]]:
    """The runs with which cells begin: on every seed, or in a race on the first."""
    seeds = tuning.seeds if tuning.race_margin is None else tuning.seeds[:1]
    return [(cell, seed) for cell in cells for seed in seeds]


def race_note(tuning: Mapping[str, Any]) -> str:
    """A sentence on the race by recorded settings; nothing where all rates run on all seeds."""
    margin, seeds = tuning.get("race_margin"), len(tuning.get("seeds", []))
    if margin is None or seeds < 2:
        return ""
    others = "second tuning seed" if seeds == 2 else "tuning seeds after the first"
    return f"The {others}: for rates within {margin:g} of the best on the first."


def count_extensions(
    trials: Iterable[Trial], learning_rates: Iterable[float], kappas: Iterable[float] = ()
) -> int:
    """Log steps by which the trials went beyond the configured grid, over both axes."""
    tried = list(trials)
    new_rates = {trial.learning_rate for trial in tried} - set(learning_rates)
    new_kappas = {trial.kappa for trial in tried if trial.kappa is not None} - set(kappas)
    return len(new_rates) + len(new_kappas)


def selection_entry(
    trials: Sequence[Trial], tolerance: float, extensions: int = 0
) -> dict[str, Any]:
    """What tuning chose for a part: the choice, and the mean loss of every cell tried."""
    choice = choose(trials, tolerance)
    seeds = _runs_of_cells(trials)
    return {
        "learning_rate": choice.learning_rate,
        "kappa": choice.kappa,
        "interior": choice.interior,
        "note": choice.note,
        "extensions": extensions,
        "trials": [
            {
                "learning_rate": cell.learning_rate,
                "kappa": cell.kappa,
                "mean_validation_loss": None if math.isinf(mean) else mean,
                "seeds": seeds[cell],
                "status": "diverged" if math.isinf(mean) else "done",
            }
            for cell, mean in mean_losses(trials).items()
        ],
    }


def _lacking_in_race(
    trials: Sequence[Trial], seeds: Sequence[int], margin: float
) -> list[tuple[Cell, int]]:
    """The runs that the cells in the race still lack."""
    means = mean_losses(trials)
    of_cell: dict[Cell, dict[int, float]] = {}
    for trial in trials:
        cell = Cell(trial.learning_rate, trial.kappa)
        of_cell.setdefault(cell, {})[trial.seed] = trial.validation_loss
    # A cell that diverged on any seed is out, and sets no mark for the others.
    firsts = {cell: of_cell[cell][seeds[0]] for cell in of_cell if math.isfinite(means[cell])}
    mark = min(firsts.values(), default=math.inf) + margin
    racing = [cell for cell, loss in firsts.items() if loss <= mark]
    if len(racing) == 1 and all(trial.seed == seeds[0] for trial in trials):
        return []
    return [(cell, seed) for cell in racing for seed in seeds if seed not in of_cell[cell]]


def _worths(trials: Sequence[Trial]) -> dict[Cell, float]:
    """Mean losses, infinite for a cell that fell out of the race: it lacks seeds others have."""
    means = mean_losses(trials)
    counts = _runs_of_cells(trials)
    most = max((counts[cell] for cell, mean in means.items() if math.isfinite(mean)), default=0)
    return {cell: mean if counts[cell] == most else math.inf for cell, mean in means.items()}


def _runs_of_cells(trials: Iterable[Trial]) -> Counter[Cell]:
    return Counter(Cell(trial.learning_rate, trial.kappa) for trial in trials)


def _bracket(grid: Sequence[float], cell_at: Any, plateau: set[Cell], means: dict) -> _Axis:
    """Looks for both neighbours of the plateau along the axis that `cell_at` walks."""
    flat = [value for value in grid if cell_at(value) in plateau]
    below = [value for value in grid if value < flat[0]]
    above = [value for value in grid if value > flat[-1]]
    at_lower, at_higher = not below, not above
    if at_lower and at_higher:
        at_lower = means[cell_at(flat[0])] <= means[cell_at(flat[-1])]
    extend: Side | None = "lower" if at_lower else "higher" if at_higher else None
    inside = [*below[-1:], *above[:1]]
    wanted = [value for value in inside if cell_at(value) not in means]
    bracketed = extend is None and not wanted
    if extend is not None:
        wanted.append(beyond(grid, extend))
    return _Axis(bracketed, extend, tuple(wanted))


def _note(rates: _Axis, kappas: _Axis) -> str:
    parts = []
    for name, axis in (("learning rate", rates), ("κ", kappas)):
        if axis.extend is not None:
            parts.append(f"{name} at the {axis.extend} edge of its grid")
        elif not axis.bracketed:
            parts.append(f"{name} has a neighbour that was not run")
    return "; ".join(parts) or "interior"
