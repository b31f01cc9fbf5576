# SPDX-License-Identifier: Apache-2.0
"""What is read off the measurements of the infinite-width transformer."""

import math

import pandas as pd
import pytest

from infwidth.config.errors import UserError
from infwidth.experiments.infinite_lm.measured import load
from tests.experiments.infinite_lm_synthetic import LEVEL, STEPS, gap, write


def test_losses_are_means_over_the_seeds_that_finished(tmp_path):
    measured = load(write(tmp_path, diverged=[("ntk", 256.0, 12)]))
    assert measured.variants == list(LEVEL)
    assert measured.infinite_variants == ["ntk", "adam_star"]
    assert measured.finite_widths() == [64, 256, 1024, 4096]
    assert measured.widths("ntk") == [64, 256, 1024, 4096, math.inf]
    assert measured.seeds == [10, 11, 12]
    loss = measured.test_loss("ntk", 256)
    assert loss.estimate == pytest.approx(LEVEL["ntk"] + 0.05 * 10.5 + gap(256, 0))
    assert (loss.count, measured.diverged()) == (2, 1)
    assert measured.test_loss("adam_star", math.inf).count == 3


def test_the_gap_is_the_mean_absolute_distance_of_paired_curves(tmp_path):
    measured = load(write(tmp_path))
    for width in (64, 4096):
        # The differences alternate in sign, so that no mean but that of absolute values is it.
        distance = measured.gap("adam_star", width)
        assert distance.estimate == pytest.approx(0.5 / width)
        assert distance.count == 3
        assert distance.sd == pytest.approx(0, abs=1e-12)
    assert measured.gap("adam_star", math.inf).estimate == 0


def test_a_diverged_curve_counts_as_far_as_it_got(tmp_path):
    measured = load(write(tmp_path, diverged=[("ntk", 64.0, 10)]))
    curves = measured.curves("ntk", 64)
    assert list(curves.index) == list(STEPS)
    assert curves[10].count() == 5
    assert measured.gap("ntk", 64).estimate == pytest.approx(0.5 / 64)


def test_the_interval_of_a_loss_leaves_out_what_a_seeds_models_share(tmp_path):
    # Seeds lie 0.05 apart, the same for all models.
    assert load(write(tmp_path)).half_width() == pytest.approx(0, abs=1e-12)
    folder = write(tmp_path / "own", variants=("ntk", "frozen"), infinite=(), widths=(64,))
    runs = pd.read_parquet(folder / "runs.parquet")
    runs.loc[0, "test_loss"] += 0.3
    runs.to_parquet(folder / "runs.parquet")
    # 0.3 in one of 2 × 3 leaves ±0.15 (1 − 1/3, −1/3, −1/3) in the two rows: 0.03 over 2 degrees of
    # freedom, whose 97.5% quantile is 4.3027.
    expected = 4.3027 * math.sqrt(0.03 / 2 / 3)
    assert load(folder).half_width() == pytest.approx(expected, rel=1e-4)
    assert math.isnan(load(write(tmp_path / "one", seeds=(10,))).half_width())


def test_rates_that_are_not_interior_are_named(tmp_path):
    measured = load(write(tmp_path, edge=("ntk", "constant")))
    assert measured.not_interior() == {"ntk": "learning rate at the higher edge of its grid"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda runs: runs.assign(role="tuning"), "no row has role 'report'"),
        (lambda runs: runs.assign(variant="ntq"), "column 'variant' holds 'ntq'"),
    ],
)
def test_damaged_measurements_are_named_in_one_line(tmp_path, change, line):
    path = write(tmp_path) / "runs.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(UserError, match=line):
        load(tmp_path)
