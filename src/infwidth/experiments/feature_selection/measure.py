# SPDX-License-Identifier: Apache-2.0
"""Is what features could learn reached by weighting frozen ones up and down?

Three studies. *Reweighting*, constructive: a network whose features trained is made again from
frozen features, a wide one by density ratio for inputs of dimension 1 and 2, a narrow one by the
best readout there is above. *Planted*, learned: where the readout goes on data whose directions
are known. *Pruning*: whether the features with a large readout are those that are needed.
"""

import logging
from collections.abc import Callable
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
from infwidth.experiments.parts import Keeper, Parts
from infwidth.stats.selection import Cell

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

_LOG = logging.getLogger(__name__)

_CONSTANTS = ("b1", "b2", "eps")

_MODULES = {
    "density_ratio": (density.__name__,),
    "planted": (planted.__name__,),
    "pruning": (Digits.__module__, "infwidth.data.digits"),
}
"""By study, what its numbers come from besides settings, so that a change reaches no other."""


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """All that the experiment measures.

    Args:
      settings: of the configuration.
      keeper: gives the parts that are kept, from the modules that their numbers hang on.

    Returns:
      The tables by name.

    Raises:
      UserError: something diverged.
    """
    own = settings.feature_selection
    return measure(own, Digits(own, *load_digits()), keeper)


def measure(
    settings: FeatureSelectionSettings,
    digits: Digits,
    parts_of: Callable[[tuple[str, ...]], Parts],
) -> dict[str, pd.DataFrame]:
    """Runs what is not kept of the three studies.

    Args:
      settings: of the experiment.
      digits: the images of the third.
      parts_of: from the modules that compute them to the parts that keep what is computed.

    Returns:
      The tables that `infwidth.experiments.feature_selection.measured` describes.

    Raises:
      UserError: every rate of a rule diverged, or a network of the first study did.
    """
    study = _Study(settings, digits, parts_of)
    searches = {("planted", rule): study.tune_planted(rule) for rule in RULES}
    searches |= {("pruning", rule): study.tune_pruning(rule) for rule in FROZEN}
    cells = {place: found.cell for place, found in searches.items()}
    return {
        "density_ratio": study.density_ratio(),
        "least_squares": study.least_squares(cells["planted", "unfrozen"]),
        "planted": study.planted(cells),
        "infinite": study.infinite(cells),
        "pruning": study.pruning(cells),
        "selection": pd.DataFrame([found.selection for found in searches.values()]),
        "tuning": pd.DataFrame([row for found in searches.values() for row in found.trials]),
    }


Cells = dict[tuple[str, Rule], Cell]


class _Study:
    def __init__(
        self,
        settings: FeatureSelectionSettings,
        digits: Digits,
        parts_of: Callable[[tuple[str, ...]], Parts],
    ) -> None:
        self._settings = settings
        self._digits = digits
        self._parts = {study: parts_of(modules) for study, modules in _MODULES.items()}
        self._unit = planted.sgd_unit_of(settings)

    def density_ratio(self) -> pd.DataFrame:
        own = self._settings.density_ratio
        shared = own.model_dump(mode="json", exclude={"dimensions", "kappas"})
        tables = []
        for dimension in own.dimensions:
            _LOG.info("density ratio, inputs of dimension %d", dimension)
            for kappa in own.kappas:
                for seed in self._settings.seeds:
                    compute = partial(density.reproduce, own, dimension, kappa, seed)
                    name = f"density_ratio-{dimension}-{kappa}-{seed}"
                    place = {"dimension": dimension, "kappa": kappa, "seed": seed}
                    tables.append(self._parts["density_ratio"].table(name, shared | place, compute))
        return pd.concat(tables, ignore_index=True)

    def least_squares(self, cell: Cell) -> pd.DataFrame:
        own = self._settings.least_squares
        # Side by side: both sections have units.
        shared = {
            "least_squares": own.model_dump(mode="json", exclude={"dimensions"}),
            "planted": self._planted_settings(cell),
        }
        tables = []
        for dimension in own.dimensions:
            _LOG.info("least squares, inputs of dimension %d", dimension)
            for seed in self._settings.seeds:
                place = {"dimension": dimension, "seed": seed}
                compute = partial(planted.reproduce_narrow, self._settings, cell, dimension, seed)
                name = f"least_squares-{dimension}-{seed}"
                tables.append(self._parts["planted"].table(name, shared | place, compute))
        return pd.concat(tables, ignore_index=True)

    def planted(self, cells: Cells) -> pd.DataFrame:
        tables = []
        for rule in RULES:
            _LOG.info("planted directions, %s", rule)
            cell = cells["planted", rule]
            for width in sorted(self._settings.planted.widths):
                for seed in self._settings.seeds:
                    place = {"rule": rule, "width": width, "seed": seed}
                    compute = partial(
                        planted.measure_mass, self._settings, rule, cell, width, seed, self._unit
                    )
                    name = f"planted-{rule}-{width}-{seed}"
                    depends_on = self._planted_settings(cell) | place
                    tables.append(self._parts["planted"].table(name, depends_on, compute))
        return pd.concat(tables, ignore_index=True)

    def infinite(self, cells: Cells) -> pd.DataFrame:
        _LOG.info("planted directions, infinite width")
        of = {rule: cell for (study, rule), cell in cells.items() if study == "planted"}
        solvers = planted.infinite_solvers(self._settings, of, self._unit)
        depends_on = {rule: self._planted_settings(of[rule]) for rule in solvers}
        tables = []
        for seed in self._settings.seeds:
            compute = partial(planted.measure_infinite, self._settings, solvers, seed)
            place = {"seed": seed}
            tables.append(
                self._parts["planted"].table(f"infinite-{seed}", depends_on | place, compute)
            )
        return pd.concat(tables, ignore_index=True)

    def pruning(self, cells: Cells) -> pd.DataFrame:
        tables = []
        for rule in FROZEN:
            _LOG.info("pruning, %s", rule)
            cell = cells["pruning", rule]
            for seed in self._settings.seeds:
                depends_on = self._pruning_settings(cell) | {"rule": rule, "seed": seed}
                compute = partial(self._digits.prune, rule, cell, seed)
                tables.append(
                    self._parts["pruning"].table(f"pruning-{rule}-{seed}", depends_on, compute)
                )
        return pd.concat(tables, ignore_index=True)

    def tune_planted(self, rule: Rule) -> Search:
        def loss_of(cell: Cell, seed: int) -> float:
            return planted.validation_loss(self._settings, rule, cell, seed, self._unit)

        tolerance = self._settings.planted.tolerance
        return self._tune("planted", rule, tolerance, loss_of, self._planted_settings)

    def tune_pruning(self, rule: Rule) -> Search:
        def loss_of(cell: Cell, seed: int) -> float:
            return self._digits.validation_loss(rule, cell, seed)

        tolerance = self._settings.pruning.tolerance
        return self._tune("pruning", rule, tolerance, loss_of, self._pruning_settings)

    def _tune(
        self, study: str, rule: Rule, tolerance: float, loss_of: Any, settings_of: Any
    ) -> Search:
        def kept_loss_of(cell: Cell, seed: int) -> float:
            def compute() -> pd.DataFrame:
                return pd.DataFrame({"validation_loss": [loss_of(cell, seed)]})

            name = f"tuning-{study}-{rule}-{cell.learning_rate:g}-{cell.kappa}-{seed}"
            depends_on = settings_of(cell) | {"rule": rule, "seed": seed}
            table = self._parts[study].table(name, depends_on, compute)
            return float(table["validation_loss"].iloc[0])

        found = search(study, rule, self._settings.tuning, tolerance, kept_loss_of)
        _LOG.info("%s, %s: rate %g", study, rule, found.cell.learning_rate)
        return found

    def _planted_settings(self, cell: Cell) -> dict[str, Any]:
        """What the numbers of a network on the teacher's data depend on besides its place."""
        own = self._settings.planted.model_dump(mode="json", exclude={"widths", "tolerance"})
        # The first tuning seed sets SGD's unit.
        return own | self._of_all(cell) | {"unit_seed": self._settings.tuning.seeds[0]}

    def _pruning_settings(self, cell: Cell) -> dict[str, Any]:
        beside = {"judged_share", "tolerance"}
        own = self._settings.pruning.model_dump(mode="json", exclude=beside)
        return own | self._of_all(cell)

    def _of_all(self, cell: Cell) -> dict[str, Any]:
        constants = {name: getattr(self._settings, name) for name in _CONSTANTS}
        return constants | {"cell": list(cell)}
