# SPDX-License-Identifier: Apache-2.0
"""What each experiment gives as effects: the numbers of its own analysis, and nothing silently."""

import dataclasses
import importlib
import importlib.util
import math

import numpy as np
import pandas as pd
import pytest

from infwidth.analysis import convergence, expected_value, infinite_lm, memory
from infwidth.analysis.comparisons import compare, share_closed
from infwidth.analysis.lm_width import Measurements
from infwidth.analysis.lm_width_effects import CONTRASTS, effects
from infwidth.catalogue import effects_module, reader
from infwidth.config.claims import read_claims
from tests.analysis import (
    ablation_synthetic,
    architectures_synthetic,
    convergence_synthetic,
    expected_value_synthetic,
    feature_selection_synthetic,
    feature_support_synthetic,
    infinite_lm_synthetic,
    memory_synthetic,
    width_limit_synthetic,
)
from tests.analysis.synthetic import Truth, write

BASE = Truth(widths=(64, 256, 1024), seeds=4)
WRITERS = {
    "lm_width": lambda folder: write(folder, BASE),
    "convergence": lambda folder: convergence_synthetic.write(
        folder, convergence_synthetic.Truth()
    ),
    "infinite_lm": infinite_lm_synthetic.write,
    "expected_value": lambda folder: expected_value_synthetic.write(
        folder, expected_value_synthetic.Truth()
    ),
    "memory": memory_synthetic.write,
    "optimizer_ablation": ablation_synthetic.write,
    "width_limit": width_limit_synthetic.write,
    "architectures": lambda folder: architectures_synthetic.write(
        folder, architectures_synthetic.Truth()
    ),
    "feature_selection": lambda folder: feature_selection_synthetic.write(
        folder, feature_selection_synthetic.Truth()
    ),
    "feature_support": lambda folder: feature_support_synthetic.write(
        folder, feature_support_synthetic.Truth()
    ),
}


def effects_of(experiment, folder):
    measured = importlib.import_module(reader(experiment)).load(folder)
    return importlib.import_module(effects_module(experiment)).effects(measured)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The effects of every experiment on measurements in which nothing is missing."""
    return {
        name: effects_of(name, write_to(tmp_path_factory.mktemp(name)))
        for name, write_to in WRITERS.items()
    }


@pytest.mark.parametrize("claim", read_claims().claims, ids=lambda claim: claim.id)
def test_every_claim_asks_for_an_effect_that_there_is(claim, given):
    if importlib.util.find_spec(reader(claim.experiment)) is None:
        pytest.skip(f"there is no experiment {claim.experiment}")
    places = given[claim.experiment][claim.effect]
    assert places
    assert not any(math.isnan(place.p_above(0.0)) for place in places)
    if isinstance(claim.scope, list):
        assert set(claim.scope) <= {place.where for place in places}


def test_every_experiment_that_a_claim_asks_is_one_of_the_project():
    assert {claim.experiment for claim in read_claims().claims} <= WRITERS.keys()


def width(truth, folder):
    return Measurements.load(write(folder, truth))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return width(BASE, tmp_path_factory.mktemp("base"))


def test_contrasts_are_those_of_the_comparisons(base, given):
    found = given["lm_width"]
    for name in ("ntk_minus_frozen", "adam_star_minus_frozen", "frozen_minus_unfrozen"):
        first, second = name.split("_minus_")
        assert [effect.where for effect in found[name]] == ["H = 64", "H = 256", "H = 1,024"]
        for effect, H in zip(found[name], BASE.widths, strict=True):
            expected = compare(base, first, second, H)
            interval = effect.interval(0.95)
            assert (interval.lower, interval.upper) == pytest.approx(
                (expected.over_seeds.lower, expected.over_seeds.upper), rel=1e-9
            )
            assert effect.documents == expected.over_documents
            assert (effect.count, effect.lost) == (4, 0)


def test_a_contrast_of_three_is_paired_by_seed(base, given):
    ntk, frozen, unfrozen = (base.losses(v, 256) for v in ("ntk", "frozen", "unfrozen"))
    by_seed = [(ntk[s] - frozen[s]) - (frozen[s] - unfrozen[s]) for s in ntk]
    effect = given["lm_width"]["optimizer_minus_features"][1]
    assert effect.estimate == pytest.approx(np.mean(by_seed), rel=1e-9)
    assert effect.error == pytest.approx(np.std(by_seed, ddof=1) / 2, rel=1e-9)
    assert effect.documents.lower < effect.estimate < effect.documents.upper


def test_the_share_closed_is_the_tables(base, given):
    for effect, H in zip(given["lm_width"]["gap_closed"], BASE.widths, strict=True):
        expected, interval = share_closed(base, H), effect.interval(0.95)
        assert (interval.estimate, interval.lower, interval.upper) == pytest.approx(
            (expected.estimate, expected.lower, expected.upper), rel=1e-9, nan_ok=True
        )


def test_sgd_is_compared_with_itself_at_each_narrower_width(base, given):
    found = given["lm_width"]["sgd_loss_over_width"]
    assert [effect.where for effect in found] == ["1,024 against 64", "1,024 against 256"]
    losses = [base.losses("ntk", H) for H in (1024, 64)]
    expected = np.mean([losses[0][seed] - losses[1][seed] for seed in losses[0]])
    assert found[0].estimate == pytest.approx(expected, rel=1e-9)


def test_what_diverged_or_never_ran_is_lost_and_counted(tmp_path):
    truth = dataclasses.replace(BASE, diverged=frozenset({("ntk", 256, 11)}))
    folder = write(tmp_path, truth)
    runs = pd.read_parquet(folder / "runs.parquet")
    never = (runs["variant"] == "frozen") & (runs["width"] == 1024) & (runs["seed"] == 13)
    runs[~never].to_parquet(folder / "runs.parquet")
    found = effects(Measurements.load(folder))
    assert [e.lost for e in found["ntk_minus_frozen"]] == [0, 1, 1]
    assert [e.lost for e in found["gap_closed"]] == [0, 1, 1]
    assert [e.lost for e in found["ntk_minus_adam_star"]] == [0, 1, 0]
    assert [e.count for e in found["optimizer_minus_features"]] == [4, 3, 3]
    diverged = {e.where: e.estimate for e in found["diverged_runs"]}
    assert diverged["NTK (SGD)"] == 1
    assert sum(diverged.values()) == 1


def test_where_every_run_diverged_there_is_a_place_without_a_number(tmp_path):
    lost = frozenset(("ntk", H, seed) for H in BASE.widths for seed in range(10, 14))
    found = effects(width(dataclasses.replace(BASE, diverged=lost), tmp_path))
    for effect in (*found["ntk_minus_frozen"], *found["gap_closed"]):
        assert math.isnan(effect.estimate)
        assert (effect.count, effect.lost) == (0, 4)
        assert math.isnan(effect.interval(0.95).lower)


def test_variants_that_are_not_part_of_it_leave_an_effect_without_places(tmp_path):
    truth = dataclasses.replace(BASE, variants=("frozen", "adam_star", "constant"))
    found = effects(width(truth, tmp_path))
    assert found.keys() >= CONTRASTS.keys()
    assert [name for name, places in found.items() if places] == [
        *("adam_star_minus_frozen", "diverged_runs")
    ]
    one = dataclasses.replace(BASE, widths=(256,), variants=("ntk",))
    assert effects(width(one, tmp_path / "one"))["sgd_loss_over_width"] == []


def test_slopes_and_limits_are_those_of_table_7(tmp_path):
    measured = convergence.load(
        convergence_synthetic.write(tmp_path, convergence_synthetic.Truth())
    )
    found = effects_of("convergence", tmp_path)
    assert [e.where for e in found["slope"]][-2:] == ["ADAM*, test", "ADAM*, training"]
    expected = measured.slope("adam_star", "test").mean
    interval = found["slope"][-2].interval(0.95)
    assert (interval.lower, interval.upper) == pytest.approx((expected.lower, expected.upper))
    for effect, (view, split) in zip(
        found["adam_limit_distance"],
        [(v, s) for v in ("outputs", "centred") for s in ("test", "train")],
        strict=True,
    ):
        gap, interval = measured.limit_gap(split, view), effect.interval(0.95)
        assert (interval.lower, interval.upper) == pytest.approx((gap.lower, gap.upper))


def test_a_slope_of_a_run_that_broke_off_is_lost(tmp_path):
    folder = convergence_synthetic.write(tmp_path, convergence_synthetic.Truth())
    curves = pd.read_parquet(folder / "curves.parquet")
    broke = (curves["rule"] == "sgd") & (curves["seed"] == 12) & (curves["width"] == 1024)
    curves.loc[broke, "distance"] = math.nan
    curves.to_parquet(folder / "curves.parquet")
    by_place = {e.where: e for e in effects_of("convergence", folder)["slope"]}
    assert (by_place["SGD, test"].count, by_place["SGD, test"].lost) == (7, 1)
    assert by_place["ADAM*, test"].lost == 0


@pytest.mark.parametrize(("bias", "small"), [(0.0, True), (0.2, False)])
def test_a_fixed_readouts_bias_is_the_worst_outputs(tmp_path, bias, small):
    truth = expected_value_synthetic.Truth(fixed_bias=bias)
    measured = expected_value.load(expected_value_synthetic.write(tmp_path, truth))
    for effect, cell in zip(
        effects_of("expected_value", tmp_path)["fixed_bias"], measured.fixed(), strict=True
    ):
        assert effect.where == f"H = {cell.width:,}"
        rows = measured.measured.tables["fixed"].query(f"width == {cell.width}")
        assert effect.estimate == pytest.approx(rows["mean"].abs().max() / truth.size)
        assert (effect.p_below(0.1) < 0.01) is small
        assert (effect.p_above(0.1) < 0.01) is not small


def test_exponents_have_the_intervals_of_figure_6(tmp_path):
    measured = expected_value.load(
        expected_value_synthetic.write(tmp_path, expected_value_synthetic.Truth())
    )
    found = effects_of("expected_value", tmp_path)["trained_bias_exponent"]
    assert [e.where for e in found] == ["ADAM*", "SGD", "SGD, squared error"]
    for effect, case in zip(found, measured.cases, strict=True):
        slope, interval = measured.slope(case), effect.interval(0.95)
        assert interval.half_width == pytest.approx(slope.half_width, rel=1e-9)
        assert interval.estimate == slope.estimate


def test_an_exponent_that_is_not_bounded_has_no_error(tmp_path):
    truth = expected_value_synthetic.Truth(trained_widths=(16,))
    expected_value_synthetic.write(tmp_path, truth)
    for effect in effects_of("expected_value", tmp_path)["trained_bias_exponent"]:
        assert math.isnan(effect.p_above(-2.0))


def test_finite_losses_are_paired_with_infinite_ones(tmp_path):
    infinite_lm_synthetic.write(tmp_path, diverged=[("ntk", 256.0, 12)], infinite=("ntk",))
    found = effects_of("infinite_lm", tmp_path)
    assert [e.where for e in found["ntk_minus_infinite"]] == [
        *("H = 64", "H = 256", "H = 1,024", "H = 4,096")
    ]
    for effect, H in zip(found["ntk_minus_infinite"], (64, 256, 1024, 4096), strict=True):
        assert effect.estimate == pytest.approx(infinite_lm_synthetic.gap(H, 0))
        assert effect.lost == (H == 256)
    (widest,) = found["widest_minus_infinite"]
    assert widest.where == "NTK (SGD), H = 4,096"
    assert found["adam_star_minus_infinite"] == []
    assert infinite_lm.load(tmp_path).losses("ntk", 256.0).keys() == {10, 11}


def test_bytes_are_exact(tmp_path):
    # Synthetic: 100 bytes an input and 1,000 to start with; 300 a unit of width; 20,000 a step.
    memory_synthetic.write(tmp_path)
    found = effects_of("memory", tmp_path)
    by_place = {e.where: e.estimate for e in found["growth_exponent"]}
    assert by_place["dense, Adam, over H"] == pytest.approx(1, abs=1e-9)
    assert by_place["kernel form, over t"] == pytest.approx(1, abs=1e-2)
    crossing = {e.where: e.estimate for e in found["crossing_inputs_per_unit"]}
    assert crossing["everything kept"] == pytest.approx((300 * 4096 - 1000) / 100 / 4096)
    for effect, inputs in zip(found["step_over_full_matrix"], (4096, 8192, 65_536), strict=True):
        assert effect.estimate == pytest.approx(20_000 / (4 * 16 * 64 * inputs))
        assert effect.error == 0
    one_size = memory.load(memory_synthetic.write(tmp_path / "one", inputs=(4096, 4096)))
    places = effects_of("memory", tmp_path / "one")["growth_exponent"]
    assert [e.where for e in places] == ["dense, ADAM*, over H", "dense, Adam, over H"]
    assert len(one_size.temporary()[0]) == 1
