# SPDX-License-Identifier: Apache-2.0
"""Is what features could learn reached by weighting frozen ones up and down?

Three studies. *Reweighting*, constructive: a network whose features trained is made again from
frozen features, a wide one by density ratio for inputs of dimension 1 and 2, a narrow one by the
best readout there is above. *Planted*, learned: where the readout goes on data whose directions
are known. *Pruning*: whether the features with a large readout are those that are needed.
"""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from infwidth.data.digits import load_digits
from infwidth.experiments.feature_selection import density, planted
from infwidth.experiments.feature_selection.pruning import Digits
from infwidth.experiments.feature_selection.settings import (
    FROZEN,
    RULES,
    FeatureSelectionSettings,
    Rule,
)
from infwidth.experiments.feature_selection.tuning import Search, search
from infwidth.experiments.parts import Keeper
from infwidth.stats.selection import Cell

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

_LOG = logging.getLogger(__name__)

_MODULES = {
    "density_ratio": (density.__name__,),
    "planted": (planted.__name__,),
    "pruning": (Digits.__module__, "infwidth.data.digits"),
}
"""By study, what its numbers come from besides settings, so that a change reaches no other."""


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """Runs what is not kept of the three studies.

    Args:
      settings: of the configuration.
      keeper: gives the parts that are kept, from the modules that their numbers hang on.

    Returns:
      The tables that `infwidth.experiments.feature_selection.measured` describes.

    Raises:
      UserError: every rate of a rule diverged, or a network of the first study did.
    """
    study = _Study(settings.feature_selection, keeper)
    searches = {("planted", rule): study.tune_planted(rule) for rule in RULES}
    searches |= {("pruning", rule): study.tune_pruning(rule) for rule in FROZEN}
    found = list(searches.values())
    of_planted = {rule: searches["planted", rule].cell for rule in RULES}
    of_pruning = {rule: searches["pruning", rule].cell for rule in FROZEN}
    return {
        "density_ratio": study.density_ratio(),
        "least_squares": study.least_squares(of_planted["unfrozen"]),
        "planted": study.planted(of_planted),
        "infinite": study.infinite(of_planted),
        "pruning": study.pruning(of_pruning),
        "selection": pd.DataFrame([search.selection for search in found]),
        "tuning": pd.DataFrame([row for search in found for row in search.trials]),
    }


class _Study:
    def __init__(self, settings: FeatureSelectionSettings, keeper: Keeper) -> None:
        self._settings = settings
        self._digits = Digits(settings, *load_digits())
        self._parts = {study: keeper(modules) for study, modules in _MODULES.items()}
        self._unit = planted.sgd_unit_of(settings)

    def density_ratio(self) -> pd.DataFrame:
        own = self._settings.density_ratio
        depends_on = own.model_dump(mode="json", exclude={"dimensions", "kappas"})
        return self._kept(
            "density_ratio",
            "density_ratio",
            depends_on,
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
            "planted": self._of_planted(cell),
        }
        axes = {"dimension": own.dimensions, "seed": self._settings.seeds}
        compute = partial(planted.reproduce_narrow, self._settings, cell)
        return self._kept("planted", "least_squares", depends_on, compute, **axes)

    def planted(self, cells: Mapping[Rule, Cell]) -> pd.DataFrame:
        axes = {"width": sorted(self._settings.planted.widths), "seed": self._settings.seeds}
        tables = []
        for rule, cell in cells.items():
            compute = partial(planted.measure_mass, self._settings, rule, cell, self._unit)
            depends_on = self._of_planted(cell) | {"rule": rule}
            tables.append(self._kept("planted", f"planted-{rule}", depends_on, compute, **axes))
        return pd.concat(tables, ignore_index=True)

    def infinite(self, cells: Mapping[Rule, Cell]) -> pd.DataFrame:
        solvers = planted.infinite_solvers(self._settings, cells, self._unit)
        depends_on = {rule: self._of_planted(cells[rule]) for rule in solvers}
        compute = partial(planted.measure_infinite, self._settings, solvers)
        return self._kept("planted", "infinite", depends_on, compute, seed=self._settings.seeds)

    def pruning(self, cells: Mapping[Rule, Cell]) -> pd.DataFrame:
        axes = {"seed": self._settings.seeds}
        tables = []
        for rule, cell in cells.items():
            compute = partial(self._digits.prune, rule, cell)
            depends_on = self._of_pruning(cell) | {"rule": rule}
            tables.append(self._kept("pruning", f"pruning-{rule}", depends_on, compute, **axes))
        return pd.concat(tables, ignore_index=True)

    def tune_planted(self, rule: Rule) -> Search:
        loss_of = partial(planted.validation_loss, self._settings, rule, self._unit)
        tolerance = self._settings.planted.tolerance
        return self._tune("planted", rule, tolerance, loss_of, self._of_planted)

    def tune_pruning(self, rule: Rule) -> Search:
        loss_of = partial(self._digits.validation_loss, rule)
        tolerance = self._settings.pruning.tolerance
        return self._tune("pruning", rule, tolerance, loss_of, self._of_pruning)

    def _tune(
        self,
        study: str,
        rule: Rule,
        tolerance: float,
        loss_of: Callable[[Cell, int], float],
        settings_of: Callable[[Cell], dict[str, Any]],
    ) -> Search:
        def kept_loss_of(cell: Cell, seed: int) -> float:
            def compute(seed: int) -> pd.DataFrame:
                return pd.DataFrame({"validation_loss": [loss_of(cell, seed)]})

            name = f"tuning-{study}-{rule}-{cell.learning_rate:g}-{cell.kappa}"
            depends_on = settings_of(cell) | {"rule": rule}
            table = self._kept(study, name, depends_on, compute, seed=[seed])
            return float(table["validation_loss"].iloc[0])

        found = search(study, rule, self._settings.tuning, tolerance, kept_loss_of)
        _LOG.info("%s, %s: rate %g", study, rule, found.cell.learning_rate)
        return found

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
            table = self._parts[study].table(
                part, {**depends_on, **place}, partial(compute, **place)
            )
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def _of_planted(self, cell: Cell) -> dict[str, Any]:
        """What the numbers of a network on the teacher's data depend on besides its place."""
        own = self._settings.planted.model_dump(mode="json", exclude={"widths", "tolerance"})
        # The first tuning seed sets SGD's unit.
        return own | self._of_all(cell) | {"unit_seed": self._settings.tuning.seeds[0]}

    def _of_pruning(self, cell: Cell) -> dict[str, Any]:
        beside = {"judged_share", "tolerance"}
        own = self._settings.pruning.model_dump(mode="json", exclude=beside)
        return own | self._of_all(cell)

    def _of_all(self, cell: Cell) -> dict[str, Any]:
        constants = {name: getattr(self._settings, name) for name in ("b1", "b2", "eps")}
        return constants | {"cell": list(cell)}
