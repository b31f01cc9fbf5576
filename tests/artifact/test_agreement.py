# SPDX-License-Identifier: Apache-2.0
"""Two tables of measurements: a planted shift is found, rounding is not, a lost cell is named."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from infwidth.artifact.agreement import LEVEL, TRIALS, Agreement, compare_tables, name_runs
from infwidth.catalogue import schemas
from infwidth.config.errors import UserError
from infwidth.experiments.registry import REGISTRY
from infwidth.experiments.schema import Table
from infwidth.stats.statistics import moderated_t, prior_of_variances
from infwidth.stored import read_columns

PUBLISHED = Path(__file__).parents[2] / "results/published/measurements"
TABLES = [
    (experiment, table)
    for experiment in REGISTRY
    if (PUBLISHED / experiment).is_dir()
    for table in schemas(experiment)
]
RUNS = schemas("lm_width")["runs"]


def schema_of(experiment, table):
    known = schemas(experiment)
    return known[table].named_by(known["runs"]) if known[table].by_run else known[table]


def published(experiment, table):
    frame = read_columns(PUBLISHED / experiment / f"{table}.parquet", ())
    if schemas(experiment)[table].by_run:
        frame = name_runs(frame, read_columns(PUBLISHED / experiment / "runs.parquet", ()))
    return frame


def compared(here, experiment="lm_width", table="runs", level=LEVEL):
    schema = schema_of(experiment, table)
    return compare_tables(experiment, table, schema, published(experiment, table), here, level)


@pytest.fixture
def here():
    """The published runs of lm_width, to be changed into those of somebody else."""
    return published("lm_width", "runs")


@pytest.fixture
def reported(here):
    return here[here["role"] == "report"]


def resampled(reported, rng, shift=0.0):
    """The runs of lm_width as other seeds might have left them; one arm shifted, in its sds."""
    frame = reported.copy()
    arms = frame.groupby(["role", "variant", "width"])["test_loss"]
    mean, sd = arms.transform("mean"), arms.transform("std")
    frame["test_loss"] = mean + sd * rng.normal(size=len(frame))
    arm = (frame["variant"] == "ntk") & (frame["width"] == 256)
    assert arm.sum() == frame["seed"].nunique() > 2
    frame.loc[arm, "test_loss"] += shift * sd[arm]
    return frame


def test_every_published_table_is_known():
    there = {(path.parent.name, path.stem) for path in PUBLISHED.rglob("*.parquet")}
    assert there == set(TABLES)


@pytest.mark.parametrize(("experiment", "table"), TABLES, ids=map("/".join, TABLES))
def test_the_columns_of_every_table_are_there_and_name_its_rows(experiment, table):
    schema, frame = schema_of(experiment, table), published(experiment, table)
    assert set(schema.columns) <= set(frame.columns)
    # compare_tables refuses two rows of one name.
    result = compare_tables(experiment, table, schema, frame, frame.sample(frac=1, random_state=0))
    assert (result.word, result.identical) == (Agreement.IDENTICAL, len(frame))


def test_rounding_is_no_disagreement(here):
    rng = np.random.default_rng(0)
    here["test_loss"] *= 1 + 1e-7 * rng.normal(size=len(here))
    result = compared(here)
    assert result.word is Agreement.ROUNDING
    assert result.identical < result.rows
    assert 1e-8 < result.largest < 1e-6


def test_other_runs_of_the_same_arms_agree_and_a_shift_of_one_is_found(reported):
    rng = np.random.default_rng(1)

    def against(here):
        return compare_tables("lm_width", "runs", RUNS, reported, here, LEVEL)

    result = against(resampled(reported, rng))
    arms = len(reported.groupby(["variant", "width"]))
    assert (result.word, result.tested, result.shifts) == (Agreement.AGREES, arms, [])
    result = against(resampled(reported, rng, shift=2 * result.resolution))
    assert result.word is Agreement.DISAGREES
    (shift,) = result.shifts
    assert (shift.cell, shift.outcome) == ("role report, variant ntk, width 256", "test_loss")
    assert shift.here > shift.published


def test_false_alarms_are_as_rare_as_the_level_says(reported):
    rng = np.random.default_rng(2)
    alarms = sum(
        compare_tables(
            "lm_width", "runs", RUNS, resampled(reported, rng), resampled(reported, rng), 0.2
        ).word
        is Agreement.DISAGREES
        for _ in range(50)
    )
    # 50 comparisons at 20%: 10 ± 3.
    assert stats.binomtest(alarms, 50, 0.2).pvalue > 1e-3


def test_a_run_that_is_missing_is_named(here):
    gone = here[(here["role"] == "report") & (here["variant"] == "ntk")].index[0]
    result = compared(here.drop(index=gone))
    assert result.word is Agreement.DISAGREES
    row = here.loc[gone]
    assert result.missing == [f"role report, variant ntk, width {row.width}, seed {row.seed}"]


def test_more_runs_are_welcome(here, reported):
    more = reported[reported["seed"] == reported["seed"].min()].assign(seed=99)
    assert len(more)
    result = compared(pd.concat([here, more]))
    assert (result.word, result.extra) == (Agreement.IDENTICAL, len(more))


def test_a_rate_that_was_tuned_otherwise_is_no_missing_cell(here):
    ours = here["variant"] == "ntk"
    here.loc[ours, "learning_rate"] *= 3.7  # off the grid
    result = compared(here)
    assert result.missing == []
    assert result.trials == result.extra == (here["role"].isin(TRIALS) & ours).sum() > 0
    assert result.word is Agreement.AGREES
    assert result.identical == result.rows - ours.sum()


def test_a_run_that_diverged_on_one_side_is_named(here):
    row = here[here["role"] == "report"].index[0]
    here.loc[row, "test_loss"] = math.nan
    result = compared(here)
    assert result.word is Agreement.DISAGREES
    (said,) = result.counted
    assert said.startswith("test_loss at role report, ")
    assert said.endswith(" published, none here")


def test_a_count_is_the_same_everywhere(here):
    here.loc[3, "parameters_trunk"] += 1
    result = compared(here)
    assert result.word is Agreement.DISAGREES
    (said,) = result.counted
    assert said.startswith("parameters_trunk at role ")


def test_times_and_hashes_are_not_compared(here):
    here = here.assign(device_seconds=1.0, key="k", device="other")
    assert compared(here).word is Agreement.IDENTICAL


@pytest.mark.parametrize(("by", "word"), [(1e-3, Agreement.AGREES), (0.1, Agreement.DISAGREES)])
def test_without_repeats_there_is_a_stated_distance(by, word):
    here = published("convergence", "limits")
    here["loss"] *= 1 + by
    assert compared(here, "convergence", "limits").word is word


def test_choices_are_compared_and_not_judged():
    here = published("architectures", "selection")
    here.loc[0, "learning_rate"] *= 3
    result = compared(here, "architectures", "selection")
    assert (result.word, result.identical) == (Agreement.NOT_JUDGED, result.rows - 1)


def test_parts_of_one_repeat_are_no_repeats():
    """A thousand images of two seeds are two repeats."""
    rng = np.random.default_rng(3)
    schema = Table(("arm",), ("seed",), ("image",), outcomes=("loss",))

    def table():
        rows = pd.MultiIndex.from_product(
            [range(6), range(2), range(1000)], names=["arm", "seed", "image"]
        ).to_frame(index=False)
        seeds = rng.normal(size=12).repeat(1000)
        return rows.assign(loss=seeds + 0.01 * rng.normal(size=len(rows)))

    result = compare_tables("a", "b", schema, table(), table())
    assert (result.word, result.tested) == (Agreement.AGREES, 6)


def test_two_rows_for_one_cell_are_refused():
    here = published("memory", "state")
    with pytest.raises(UserError, match=r"memory/state.parquet: two rows for form"):
        compared(pd.concat([here, here.tail(1)]), "memory", "state")


def test_the_prior_of_variances_is_found():
    """Variances drawn from a scaled inverse χ² with 6 degrees of freedom around 4."""
    rng = np.random.default_rng(4)
    true = 4.0 * 6 / rng.chisquare(6, 20_000)
    sample = true * rng.chisquare(4, 20_000) / 4
    freedom, scale = prior_of_variances(sample, np.full(20_000, 4.0))
    assert freedom == pytest.approx(6, rel=0.1)
    assert scale == pytest.approx(4, rel=0.05)


def test_moderated_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(5)
    variance = 4.0 * 6 / rng.chisquare(6, 20_000)
    samples = np.sqrt(variance)[:, None] * rng.normal(size=(20_000, 6))
    first, second = samples[:, :3], samples[:, 3:]
    pooled = (first.var(axis=1, ddof=1) + second.var(axis=1, ddof=1)) / 2
    freedom, size = np.full(20_000, 4.0), np.full(20_000, 2 / 3)
    gap = second.mean(axis=1) - first.mean(axis=1)
    _, _, p_values = moderated_t(gap, pooled, freedom, size)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert (p_values < 1e-3).mean() == pytest.approx(1e-3, abs=8e-4)


def test_too_few_arms_give_the_plain_t_test():
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=(2, 5))
    pooled = np.array([(first.var(ddof=1) + second.var(ddof=1)) / 2])
    gap = np.array([second.mean() - first.mean()])
    _, freedom, p_value = moderated_t(gap, pooled, np.array([8.0]), np.array([0.4]))
    assert freedom[0] == 8
    assert p_value[0] == pytest.approx(stats.ttest_ind(first, second).pvalue, rel=1e-12)
