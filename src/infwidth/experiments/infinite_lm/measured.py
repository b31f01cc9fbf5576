# SPDX-License-Identifier: Apache-2.0
"""The infinite-width transformer against finite widths: losses, and distances of loss curves.

Every loss is in nats per token; a width is inf where the MLPs are infinitely wide, and 0 where
there are none.

Legend: C cells (a variant at a width), S seeds.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from infwidth.config.errors import UserError
from infwidth.config.variants import VARIANTS
from infwidth.experiments.schema import CURVES, runs_table
from infwidth.experiments.tables import SETTINGS, Experiment, MeasuredTables
from infwidth.stats.effects import Effect, paired_effect
from infwidth.stats.extrapolation import Extrapolation, extrapolate
from infwidth.stats.statistics import SampleMean, mean_interval
from infwidth.stored import require

TABLES = {"runs": runs_table("variant"), "curves": CURVES}


class InfiniteLm(Experiment):
    """What the experiment measured."""

    @property
    def reported(self) -> pd.DataFrame:
        """The runs whose losses are reported."""
        return self.rows("runs", role="report")

    @property
    def variants(self) -> list[str]:
        """The variants reported, in the order of the table of variants."""
        present = set(self.reported["variant"])
        return [name for name in VARIANTS if name in present]

    @property
    def infinite_variants(self) -> list[str]:
        """Those that ran at infinite width, too."""
        return [name for name in self.variants if math.inf in self.widths(name)]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the reported runs."""
        return sorted({int(seed) for seed in self.reported["seed"]})

    def widths(self, variant: str) -> list[float]:
        """The widths at which a variant ran, ascending, inf last."""
        return sorted(
            {float(w) for w in self.rows("runs", role="report", variant=variant)["width"]}
        )

    def finite_widths(self, variant: str | None = None) -> list[int]:
        """All finite widths with MLPs, ascending; of a variant or of all."""
        widths = {w for name in self.variants if variant in (name, None) for w in self.widths(name)}
        return sorted(int(width) for width in widths if 0 < width < math.inf)

    def losses(self, variant: str, width: float) -> dict[int, float]:
        """Test loss by seed of the runs that finished."""
        return self.by_seed("runs", "test_loss", role="report", variant=variant, width=width)

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
        runs = self.rows("runs", role="report", variant=variant, width=width).sort_values("seed")
        by_seed = {
            int(run.seed): self.rows("curves", key=run.key).set_index("step")["loss"]
            for run in runs.itertuples()
        }
        return pd.DataFrame(by_seed).sort_index()

    def gap(self, variant: str, width: float) -> SampleMean:
        """How far a finite model's loss curve is from the infinite model's.

        That is the mean |finite − infinite| of the training loss over the logged stretches that
        both have, for each seed: the two start at the same trunk and see the same batches. Its mean
        over the seeds of which neither diverged, with the interval.
        """
        done = set(self.losses(variant, width)) & set(self.losses(variant, math.inf))
        distance = (self.curves(variant, width) - self.curves(variant, math.inf)).abs()
        return mean_interval(distance[sorted(done)].mean(axis=0), self.confidence)

    def not_interior(self) -> dict[str, str]:
        """The variants whose rate tuning left at an edge of its grid, and tuning's note on it."""
        return {
            name: entry["note"]
            for name, entry in self.settings["selection"].items()
            if name in self.variants and name != "constant" and not entry["interior"]
        }


def load(folder: Path | str) -> InfiniteLm:
    """Reads and checks what `infwidth gather infinite_lm` wrote."""
    keys = ("infinite_lm", "model", "corpus", "selection", "statistics")
    tables = MeasuredTables.load(folder, TABLES, *keys)
    tables.require_known("runs", variant=VARIANTS)
    measured = InfiniteLm(tables)
    if measured.reported.empty:
        path = tables.folder / "runs.parquet"
        raise UserError(f"{path}: no row has role 'report'; run `infwidth measure` first")
    for name, entry in measured.settings["selection"].items():
        require(Path(folder) / SETTINGS, f"the entry of '{name}'", entry, ("interior",))
    return measured


def effects(measured: InfiniteLm) -> dict[str, list[Effect]]:
    """Test losses at finite width minus that at infinite width, nats per token, paired by seed.

    `widest_minus_infinite`: at the largest finite width, by variant. `extrapolator_error`: what is
    extrapolated for ADAM* from finite widths minus what is computed at infinite width; it holds by
    every model of the extrapolation.
    """
    ran = [name for name in ("ntk", "adam_star") if name in measured.infinite_variants]
    widest = [(name, width) for name in ran for width in measured.finite_widths(name)[-1:]]
    limit = measured.extrapolation_error("adam_star") if "adam_star" in ran else None
    return {
        "widest_minus_infinite": [
            paired_effect(
                f"{VARIANTS[name].label}, H = {width:,}",
                measured.losses(name, width),
                measured.losses(name, math.inf),
                measured.settings["infinite_lm"]["seeds"],
            )
            for name, width in widest
        ],
        "extrapolator_error": [limit.effect("H → ∞")] if limit and limit.fits else [],
    }
