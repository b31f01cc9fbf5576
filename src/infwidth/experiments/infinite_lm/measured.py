# SPDX-License-Identifier: Apache-2.0
"""The infinite-width transformer against finite widths: losses, and distances of loss curves.

Legend: T logged stretches of a run. Every loss is in nats per token; a width is inf where the MLPs
are infinitely wide, and 0 where there are none.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from infwidth.config.errors import UserError
from infwidth.config.variants import VARIANTS
from infwidth.experiments.schema import CURVES, runs_table
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.reading import require
from infwidth.stats.extrapolation import Extrapolation, extrapolate
from infwidth.stats.statistics import SampleMean, mean_interval

TABLES = {"runs": runs_table("variant"), "curves": CURVES}


@dataclass(frozen=True)
class InfiniteLm(Experiment):
    """What the experiment measured."""

    @property
    def reported(self) -> pd.DataFrame:
        """The runs whose losses are reported."""
        runs = self.measured.tables["runs"]
        return runs[runs["role"] == "report"]

    @property
    def variants(self) -> list[str]:
        """The variants reported, in the order of the table of variants."""
        present = set(self.reported["variant"])
        return [name for name in VARIANTS if name in present]

    @property
    def infinite_variants(self) -> list[str]:
        """Those that ran at infinite width, too."""
        runs = self.reported
        infinite = set(runs.loc[np.isinf(runs["width"]), "variant"])
        return [name for name in self.variants if name in infinite]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the reported runs."""
        return sorted({int(seed) for seed in self.reported["seed"]})

    def widths(self, variant: str) -> list[float]:
        """The widths at which a variant ran, ascending, inf last."""
        runs = self.reported
        return sorted(float(width) for width in set(runs.loc[runs["variant"] == variant, "width"]))

    @property
    def finite_widths(self) -> list[int]:
        """All finite widths with MLPs, ascending."""
        widths = {width for name in self.variants for width in self.widths(name)}
        return sorted(int(width) for width in widths if 0 < width < math.inf)

    def losses(self, variant: str, width: float) -> dict[int, float]:
        """Test loss by seed of the runs that finished."""
        cell = self._cell(variant, width)
        done = cell[(cell["status"] == "done") & np.isfinite(cell["test_loss"])]
        return dict(zip(done["seed"].astype(int).tolist(), done["test_loss"].tolist(), strict=True))

    def test_loss(self, variant: str, width: float) -> SampleMean:
        """The mean test loss over the seeds that finished, with its interval."""
        return mean_interval(list(self.losses(variant, width).values()), self.confidence)

    def half_width(self) -> float:
        """Half the interval of a mean test loss, but for what the models of a seed share.

        Each seed's mean over the models is taken out, and the rest is pooled over the models of
        which every seed finished (Student's t). NaN where there are not two seeds and two models.
        """
        runs = self.reported[self.reported["status"] == "done"]
        table = runs.pivot_table(index=["variant", "width"], columns="seed", values="test_loss")
        loss_CxS = table.dropna().to_numpy()
        models, seeds = loss_CxS.shape
        if min(models, seeds) < 2:
            return math.nan
        within_CxS = loss_CxS - loss_CxS.mean(axis=1, keepdims=True)
        left_CxS = within_CxS - within_CxS.mean(axis=0, keepdims=True)
        freedom = (models - 1) * (seeds - 1)
        error = math.sqrt(float(np.square(left_CxS).sum()) / freedom / seeds)
        return float(special.stdtrit(freedom, (1 + self.confidence) / 2)) * error

    def extrapolation_error(self, variant: str) -> Extrapolation:
        """The test loss extrapolated from finite widths less that at infinite width, by seed."""
        own, losses = self.settings["infinite_lm"], {}
        for width in (*own["extrapolated_widths"], math.inf):
            runs = self.rows("runs", variant=variant, width=width, status="done")
            runs = runs[runs["role"].isin(("report", "extra"))]
            losses[width] = dict(zip(runs["seed"], runs["test_loss"], strict=True))
        table = pd.DataFrame(losses).reindex(sorted(own["seeds"]))
        widths = sorted(own["extrapolated_widths"])
        return extrapolate(widths, table[widths].sub(table[math.inf], axis=0))

    def diverged(self) -> int:
        """The number of reported runs that diverged."""
        return int((self.reported["status"] != "done").sum())

    def curves(self, variant: str, width: float) -> pd.DataFrame:
        """Training loss: a row a logged stretch, by its last step, and a column a seed."""
        rows = self.measured.tables["curves"]
        by_seed = {
            int(run.seed): rows[rows["key"] == run.key].set_index("step")["loss"]
            for run in self._cell(variant, width).itertuples()
        }
        return pd.DataFrame(by_seed).sort_index()

    def gap(self, variant: str, width: float) -> SampleMean:
        """How far a finite model's loss curve is from the infinite model's.

        That is mean_T |finite − infinite| of the training loss of each logged stretch, over the
        stretches that both have, for each seed: the two start at the same trunk and see the same
        batches. Its mean over the seeds of which neither diverged, with the interval.
        """
        cells = self._cell(variant, width), self._cell(variant, math.inf)
        done = [set(cell.loc[cell["status"] == "done", "seed"].astype(int)) for cell in cells]
        distance = (self.curves(variant, width) - self.curves(variant, math.inf)).abs()
        by_seed = distance[sorted(done[0] & done[1])].mean(axis=0)
        return mean_interval(by_seed, self.confidence)

    def rate(self, variant: str) -> float:
        """The readout's rate at which a variant ran; NaN where there is none."""
        runs = self.reported
        return float(runs.loc[runs["variant"] == variant, "learning_rate"].iloc[0])

    def not_interior(self) -> dict[str, str]:
        """The variants whose rate tuning left at an edge of its grid, and tuning's note on it."""
        return {
            name: entry["note"]
            for name, entry in self.settings["selection"].items()
            if name in self.variants and name != "constant" and not entry["interior"]
        }

    def _cell(self, variant: str, width: float) -> pd.DataFrame:
        runs = self.reported
        return runs[(runs["variant"] == variant) & (runs["width"] == width)].sort_values("seed")


def load(folder: Path | str) -> InfiniteLm:
    """Reads and checks what `infwidth gather infinite_lm` wrote.

    Raises:
        UserError: a file is missing or unreadable, or lacks a column or key.
    """
    keys = ("infinite_lm", "model", "corpus", "selection", "statistics")
    tables = MeasuredTables.load(folder, TABLES, *keys)
    tables.require_known("runs", variant=VARIANTS)
    measured = InfiniteLm(tables)
    if measured.reported.empty:
        path = tables.folder / "runs.parquet"
        raise UserError(f"{path}: no row has role 'report'; run `infwidth measure` first")
    for name, entry in measured.settings["selection"].items():
        require(Path(folder) / "settings.json", f"the entry of '{name}'", entry, ("interior",))
    return measured
