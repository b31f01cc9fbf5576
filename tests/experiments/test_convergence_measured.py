# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pandas as pd
import pytest

from infwidth.drawing.table import latex, markdown
from infwidth.experiments.convergence import measured as convergence
from infwidth.experiments.convergence import table7_convergence
from infwidth.stats.statistics import Interval
from infwidth.stats.verdicts import Verdict
from tests.experiments.convergence_synthetic import Truth, write


def measured(tmp_path, **changes):
    return convergence.load(write(tmp_path, dataclasses.replace(Truth(), **changes)))


def test_the_slope_is_found_whatever_lies_below_the_fitted_widths(tmp_path):
    folder = write(tmp_path, Truth(slope=-0.45, slope_sd=0.0))
    table = pd.read_parquet(folder / "curves.parquet")
    table.loc[table["width"] < 128, "distance"] *= 3
    table.to_parquet(folder / "curves.parquet")
    slope = convergence.load(folder).slope("sgd", "test")
    assert slope.mean.estimate == pytest.approx(-0.45, rel=1e-12)
    assert slope.mean.count == 8


def test_the_interval_covers_the_spread_of_seeds(tmp_path):
    slope = measured(tmp_path, slope_sd=0.02).slope("momentum", "train")
    assert slope.mean.lower < -0.5 < slope.mean.upper
    assert slope.mean.half_width == pytest.approx(2.365 * slope.mean.sd / np.sqrt(8), rel=1e-3)
    assert slope.mean.lower < slope.of_test.lower < slope.of_test.upper < slope.mean.upper


@pytest.mark.parametrize(
    ("truth", "expected", "low", "high"),
    [
        ({"slope_sd": 0.005}, Verdict.REPRODUCED, 0, 0.05),
        ({"slope": -0.4, "slope_sd": 0.005}, Verdict.CONTRADICTED, 0.95, 1),
        ({"slope_sd": 0.2}, Verdict.INCONCLUSIVE, 0.05, 0.95),
        ({"judge": False}, Verdict.TOO_SMALL, 0, 0.05),
    ],
)
def test_the_verdict_follows_the_rule(tmp_path, truth, expected, low, high):
    found = measured(tmp_path, **truth)
    assert found.slope("adam_star", "test").verdict == expected
    assert low <= found.all_slopes() <= high
    assert found.all_slopes() >= found.slope("adam_star", "test").evidence.p_holds


def test_one_seed_is_no_evidence(tmp_path):
    found = measured(tmp_path, seeds=1)
    assert found.slope("adam_star", "test").verdict == Verdict.INCONCLUSIVE
    assert np.isnan(found.all_slopes())


def test_the_test_agrees_with_the_interval_shown(tmp_path):
    for place, slope in enumerate((-0.5, -0.52, -0.529, -0.535)):
        found = measured(tmp_path / str(place), slope=slope, slope_sd=0.02).slope("sgd", "test")
        inside = found.of_test.lower > -0.53 and found.of_test.upper < -0.47
        assert inside == (found.evidence.p_holds < 0.05)


def test_pairs_of_seeds_see_the_gap_and_not_the_noise(tmp_path):
    found = measured(tmp_path)
    for width in found.widths:
        noise = 1.5**2 / width
        single = found.from_star("adam", width, "test", "centred").estimate
        assert single**2 == pytest.approx(0.4**2 + noise, rel=0.05)
        # 28 pairs of 400 products: standard errors of 0.01 noise, and of 0.014 √noise for the gap.
        control = found.gap("adam_star", width, "test", "centred").estimate
        assert control == pytest.approx(0, abs=0.04 * noise)
        gap = found.gap("adam", width, "test", "centred").estimate
        assert gap == pytest.approx(0.4**2, abs=0.06 * np.sqrt(noise))
    limit = found.limit_gap("test", "centred")
    assert limit.lower < 0.4**2 < limit.upper
    assert limit.half_width < 0.02


def test_extrapolation_takes_a_bias_of_order_one_over_width_out(tmp_path):
    folder = write(tmp_path, Truth(adam_gap=0.0))
    table = pd.read_parquet(folder / "products.parquet")
    table["product"] = 0.09 + 5.0 / table["width"]
    table.to_parquet(folder / "products.parquet")
    limit = convergence.load(folder).limit_gap("train", "outputs")
    assert limit.estimate == pytest.approx(0.09, rel=1e-9)
    assert limit.half_width == pytest.approx(0, abs=1e-12)


def test_a_root_of_a_negative_square_is_zero():
    assert convergence.root(Interval(-0.1, -0.4, 0.25)) == Interval(0.0, 0.0, 0.5)


def test_the_table_holds_slopes_verdicts_and_adams_limit(tmp_path):
    table = table7_convergence.build(measured(tmp_path))
    assert "reconstruction" in table.caption
    raw = table.raw.set_index(["rule", "view", "split"]).sort_index()
    assert len(raw) == 10
    assert (raw.loc[["sgd", "momentum", "adam_star"], "found"] == "within margin").all()
    assert (raw.loc["adam", "found"] == "differs").all()
    row = raw.loc[("adam", "centred", "test")]
    assert row["limit_distance_lower"] < 0.4 < row["limit_distance_upper"]
    assert "| ADAM*" in markdown(table)
    assert r"\toprule" in latex(table)


def test_all_rows_together_have_the_p_value_of_the_weakest_and_no_verdict_of_the_tables_own(
    tmp_path,
):
    folder = write(tmp_path, Truth(slope_sd=0.02))
    curves = pd.read_parquet(folder / "curves.parquet")
    flatter = curves["rule"] == "momentum"
    curves.loc[flatter, "distance"] *= curves.loc[flatter, "width"] ** 0.01
    curves.to_parquet(folder / "curves.parquet")
    table = table7_convergence.build(convergence.load(folder))
    p_values = table.raw.set_index("rule")["p_equivalent"]
    joint = p_values["momentum"].max()
    assert joint > 2 * p_values["sgd"].max()
    assert (
        f"for all rows together p = {joint:.1g}, and the verdict, after correction for the family "
        "of the claim, is in table 5" in table.caption
    )


def test_a_limit_that_is_the_same_is_not_called_another(tmp_path):
    raw = table7_convergence.build(measured(tmp_path, adam_gap=0.0)).raw
    assert (raw.loc[raw["rule"] == "adam", "found"] == "not resolved").any()
    unjudged = table7_convergence.build(measured(tmp_path / "unjudged", judge=False)).raw
    assert (unjudged["found"] == "too small to judge").all()


def test_the_record_names_what_was_read(tmp_path):
    assert measured(tmp_path).provenance()["inputs"].keys() == {
        *("curves.parquet", "limits.parquet", "products.parquet", "gaps.parquet"),
        "settings.json",
    }
