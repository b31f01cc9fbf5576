# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pandas as pd
import pytest

from infwidth.experiments.feature_support import measured as feature_support
from infwidth.experiments.feature_support.measured import effects
from tests.experiments.feature_support_synthetic import LIMITED, Truth, write


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return feature_support.load(write(tmp_path_factory.mktemp("measured"), Truth()))


def test_curves_and_residuals_are_means_over_seeds(measured):
    assert measured.limited == list(LIMITED)
    assert measured.residual("total") == 0
    assert measured.residual("cone") == pytest.approx(0.4 / 4 + 0.02)
    cells = measured.curve("cone", "best")
    assert [cell.width for cell in cells] == [16, 64, 256, 4096]
    assert all(cell.least <= cell.error <= cell.most for cell in cells)
    # Residuals of the seeds span 0.04.
    assert cells[0].most - cells[0].least == pytest.approx(0.04, abs=0.005)
    assert measured.steps == 400


def test_what_is_left_is_paired_by_seed_at_the_largest_width(measured):
    best = measured.left("cone", "best")
    # Noise of 0.001; unpaired, the residuals' spread would make the error 0.007.
    assert best.estimate == pytest.approx(2 / 4096 + 0.0008, abs=0.001)
    assert best.error < 0.001
    assert measured.left("cone", "adam_star").estimate == pytest.approx(0.03, abs=0.003)


def test_an_error_is_the_residual_only_within_the_margin(measured, tmp_path):
    assert all(measured.levels_off(case, "best") for case in measured.cases)
    assert all(measured.levels_off(case, "adam_star") for case in measured.cases)
    off = feature_support.load(write(tmp_path, Truth(left=0.02, trained_left=0.06)))
    assert not any(off.levels_off(case, "best") for case in off.cases)
    assert not any(off.levels_off(case, "adam_star") for case in off.cases)


def test_one_seed_is_not_judged_and_a_lost_one_neither(tmp_path):
    one = feature_support.load(write(tmp_path / "one", Truth(seeds=1)))
    assert not one.levels_off("cone", "best")
    folder = write(tmp_path / "lost", Truth())
    table = pd.read_parquet(folder / "errors.parquet")
    table[(table["seed"] != 2) | (table["case"] != "cone")].to_parquet(folder / "errors.parquet")
    lost = feature_support.load(folder)
    assert lost.left("cone", "best").lost == 1
    assert not lost.levels_off("cone", "best")
    assert lost.levels_off("atoms", "best")
    table.loc[(table["seed"] == 2) & (table["case"] == "cone"), "error"] = np.nan
    table.to_parquet(folder / "errors.parquet")
    assert feature_support.load(folder).left("cone", "best").lost == 1


@pytest.mark.parametrize("spread", [0.0, 3e-10])
def test_seeds_that_make_no_difference_but_rounding_leave_a_number_without_error(tmp_path, spread):
    folder = write(tmp_path, Truth())
    table = pd.read_parquet(folder / "errors.parquet")
    of_cone, seed = table["case"] == "cone", table["seed"].astype(float)
    table.loc[of_cone, "error"] = 0.3 + spread * seed
    table.to_parquet(folder / "errors.parquet")
    residuals = pd.read_parquet(folder / "residuals.parquet")
    residuals.loc[residuals["case"] == "cone", "residual"] = 0.3
    residuals.to_parquet(folder / "residuals.parquet")
    left = feature_support.load(folder).left("cone", "best")
    assert left.is_exact
    assert left.count > 1
    assert (left.p_below(0.01), left.p_above(0.01)) == (0, 1)


def test_reports_are_counted(measured):
    rate = measured.reports("total").interval(0.95)
    # Clopper and Pearson, 1 of 20: P(X ≥ 1 | lower) = P(X ≤ 1 | upper) = 2.5%.
    assert rate.estimate == 0.05
    assert rate.lower == pytest.approx(0.0013, abs=1e-4)
    assert rate.upper == pytest.approx(0.2487, abs=1e-4)


def test_effects_are_by_case(measured):
    found = effects(measured)
    places = {name: [effect.where for effect in of_name] for name, of_name in found.items()}
    assert places == {
        **{"residual_left": list(LIMITED), "residual_analytic_cone": ["cone_erf"]},
        "report_finds": list(LIMITED),
    }
    assert [effect.estimate for effect in found["report_finds"]] == [1.0] * 4
    assert all(np.isfinite(e.estimate) for of_name in found.values() for e in of_name)
