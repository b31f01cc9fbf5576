# SPDX-License-Identifier: Apache-2.0
"""Is what features could learn reached by weighting frozen ones up and down?

Three studies. *Reweighting*, constructive: a network whose features trained is made again from
frozen features, a wide one by density ratio for inputs of dimension 1 and 2, a narrow one by the
best readout there is above. *Planted*, learned: where the readout goes on data whose directions
are known. *Pruning*: whether the features with a large readout are those that are needed.
"""

import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from infwidth.config.errors import UserError
from infwidth.data.digits import load_digits
from infwidth.experiments.feature_selection import density, planted
from infwidth.experiments.feature_selection.pruning import Digits
from infwidth.experiments.feature_selection.settings import (
    FROZEN,
    RULES,
    FeatureSelectionSettings,
    Rule,
    SearchSettings,
)
from infwidth.experiments.parts import Keeper
from infwidth.stats.selection import Cell, Trial, count_extensions, next_cells, selection_entry

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

_LOG = logging.getLogger(__name__)

_MODULES = {
    "density_ratio": (density.__name__,),
    "planted": (planted.__name__,),
    "pruning": (Digits.__module__, "infwidth.data.digits"),
}
"""By study, what its numbers come from besides settings, so that a change reaches no other."""

_BESIDE = {"planted": {"widths", "tolerance"}, "pruning": {"judged_share", "tolerance"}}
"""By study, settings that say which networks there are, and not what each of them is."""


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """Runs what is not kept of the three studies, for the tables of the module `measured`."""
    study = _Study(settings.feature_selection, keeper)
    of_planted = {rule: study.tune("planted", rule) for rule in RULES}
    of_pruning = {rule: study.tune("pruning", rule) for rule in FROZEN}
    found = [*of_planted.values(), *of_pruning.values()]
    cells = {rule: search.cell for rule, search in of_planted.items()}
    return {
        "density_ratio": study.density_ratio(),
        "least_squares": study.least_squares(cells["unfrozen"]),
        "planted": study.planted(cells),
        "infinite": study.infinite(cells),
        "pruning": study.pruning({rule: search.cell for rule, search in of_pruning.items()}),
        "selection": pd.DataFrame([search.selection for search in found]),
        "tuning": pd.DataFrame([row for search in found for row in search.trials]),
    }


class Search(NamedTuple):
    """The rates that a search found, the row of the selection, and a row for each tuning run."""

    cell: Cell
    selection: dict[str, Any]
    trials: list[dict[str, Any]]


def search(
    study: str,
    rule: Rule,
    settings: SearchSettings,
    tolerance: float,
    loss_of: Callable[[Cell, int], float],
) -> Search:
    """Chooses the rates of a rule, by validation losses that are not finite where runs diverged."""
    unfrozen = rule == "unfrozen"
    kappas = settings.kappas if unfrozen else [None]
    cells = [Cell(rate, kappa) for rate in sorted(settings.learning_rates) for kappa in kappas]
    trials: list[Trial] = []
    extensions = 0
    while cells:
        for cell, seed in itertools.product(cells, settings.seeds):
            loss = loss_of(cell, seed)
            lost = not math.isfinite(loss)
            trials.append(Trial(cell.learning_rate, loss, seed, lost, cell.kappa))
        extensions = count_extensions(
            trials, settings.learning_rates, settings.kappas if unfrozen else ()
        )
        cells = next_cells(trials, tolerance, settings.max_extensions - extensions)
    found = selection_entry(trials, tolerance, extensions)
    if found["learning_rate"] is None:
        raise UserError(
            f"{study}: every rate of {rule} diverged; lower feature_selection.tuning.learning_rates"
        )
    of = {"study": study, "rule": rule}
    chosen = ("learning_rate", "kappa", "interior", "note", "extensions")
    tried = ("learning_rate", "kappa", "seed", "validation_loss")
    return Search(
        Cell(found["learning_rate"], found["kappa"]),
        of | {name: found[name] for name in chosen},
        [of | {name: getattr(trial, name) for name in tried} for trial in trials],
    )


class _Study:
    def __init__(self, settings: FeatureSelectionSettings, keeper: Keeper) -> None:
        self._settings = settings
        self._digits = Digits(settings, *load_digits())
        self._parts = {study: keeper(modules) for study, modules in _MODULES.items()}
        self._unit = planted.sgd_unit_of(settings)

    def density_ratio(self) -> pd.DataFrame:
        own = self._settings.density_ratio
        return self._kept(
            "density_ratio",
            "density_ratio",
            own.model_dump(mode="json", exclude={"dimensions", "kappas"}),
            partial(density.reproduce, own),
            dimension=own.dimensions,
            kappa=own.kappas,
            seed=self._settings.seeds,
        )

    def least_squares(self, cell: Cell) -> pd.DataFrame:
        own = self._settings.least_squares
        # Side by side: both sections have units.
        depends_on = {
            "least_squares": own.model_dump(mode="json", exclude={"dimensions"}),
            "planted": self._depends_on("planted", cell),
        }
        axes = {"dimension": own.dimensions, "seed": self._settings.seeds}
        compute = partial(planted.reproduce_narrow, self._settings, cell)
        return self._kept("planted", "least_squares", depends_on, compute, **axes)

    def planted(self, cells: Mapping[Rule, Cell]) -> pd.DataFrame:
        train = partial(planted.measure_mass, self._settings, self._unit)
        widths = sorted(self._settings.planted.widths)
        return self._by_rule("planted", cells, train, width=widths, seed=self._settings.seeds)

    def pruning(self, cells: Mapping[Rule, Cell]) -> pd.DataFrame:
        return self._by_rule("pruning", cells, self._digits.prune, seed=self._settings.seeds)

    def infinite(self, cells: Mapping[Rule, Cell]) -> pd.DataFrame:
        solvers = planted.infinite_solvers(self._settings, cells, self._unit)
        depends_on = {rule: self._depends_on("planted", cells[rule]) for rule in solvers}
        compute = partial(planted.measure_infinite, self._settings, solvers)
        return self._kept("planted", "infinite", depends_on, compute, seed=self._settings.seeds)

    def tune(self, study: str, rule: Rule) -> Search:
        """Searches a rule's rates; every run's loss is kept."""
        loss_of: Callable[[Rule, Cell, int], float] = self._digits.validation_loss
        if study == "planted":
            loss_of = partial(planted.validation_loss, self._settings, self._unit)

        def kept_loss_of(cell: Cell, seed: int) -> float:
            def compute(seed: int) -> pd.DataFrame:
                return pd.DataFrame({"validation_loss": [loss_of(rule, cell, seed)]})

            name = f"tuning-{study}-{rule}-{cell.learning_rate:g}-{cell.kappa}"
            depends_on = self._depends_on(study, cell) | {"rule": rule}
            table = self._kept(study, name, depends_on, compute, seed=[seed])
            return float(table["validation_loss"].iloc[0])

        tolerance = getattr(self._settings, study).tolerance
        found = search(study, rule, self._settings.tuning, tolerance, kept_loss_of)
        _LOG.info("%s, %s: rate %g", study, rule, found.cell.learning_rate)
        return found

    def _by_rule(
        self,
        study: str,
        cells: Mapping[Rule, Cell],
        train: Callable[..., pd.DataFrame],
        **axes: Sequence[Any],
    ) -> pd.DataFrame:
        tables = []
        for rule, cell in cells.items():
            depends_on = self._depends_on(study, cell) | {"rule": rule}
            compute = partial(train, rule, cell)
            tables.append(self._kept(study, f"{study}-{rule}", depends_on, compute, **axes))
        return pd.concat(tables, ignore_index=True)

    def _kept(
        self,
        study: str,
        name: str,
        depends_on: Mapping[Any, Any],
        compute: Callable[..., pd.DataFrame],
        **axes: Sequence[Any],
    ) -> pd.DataFrame:
        """What is computed at all places of the axes, which name arguments; a part a place."""
        _LOG.info("%s", name.replace("-", ", "))
        tables = []
        for values in itertools.product(*axes.values()):
            place = dict(zip(axes, values, strict=True))
            part = "-".join(map(str, (name, *values)))
            settings = {**depends_on, **place}
            tables.append(self._parts[study].table(part, settings, partial(compute, **place)))
        return pd.concat(tables, ignore_index=True)

    def _depends_on(self, study: str, cell: Cell) -> dict[str, Any]:
        """What the numbers of a network of a study hang on besides rule and place."""
        own = getattr(self._settings, study).model_dump(mode="json", exclude=_BESIDE[study])
        if study == "planted":
            # The first tuning seed sets SGD's unit.
            own["unit_seed"] = self._settings.tuning.seeds[0]
        constants = {name: getattr(self._settings, name) for name in ("b1", "b2", "eps")}
        return own | constants | {"cell": list(cell)}
