# SPDX-License-Identifier: Apache-2.0
"""What each experiment gives as effects: the numbers of its own analysis, and nothing silently."""

import dataclasses
import importlib
import importlib.util
import json
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from infwidth.catalogue import effects_module, reader, schemas
from infwidth.claims.judge import not_measured
from infwidth.claims.schema import read_claims
from infwidth.config.errors import UserError
from infwidth.experiments.convergence import measured as convergence
from infwidth.experiments.expected_value import measured as expected_value
from infwidth.experiments.lm_width.effects import CONTRASTS, effects
from infwidth.experiments.lm_width.measured import load
from infwidth.experiments.memory import measured as memory
from infwidth.experiments.registry import STUDIES
from infwidth.stats.statistics import Interval
from infwidth.stored import load_json
from tests.drawing.pictures import of_truth
from tests.experiments import (
    ablation_synthetic,
    architectures_synthetic,
    convergence_synthetic,
    expected_value_synthetic,
    feature_selection_synthetic,
    feature_support_synthetic,
    infinite_lm_synthetic,
    infinite_rules_synthetic,
    memory_synthetic,
    studies_synthetic,
    width_limit_synthetic,
)
from tests.experiments.synthetic import Truth, write
from tests.stats.fieller import FINE, fiellers_ends

BASE = Truth(widths=(64, 256, 1024), seeds=4)
WRITERS = {
    "lm_width": lambda folder: write(folder, BASE),
    "convergence": of_truth(convergence_synthetic),
    "infinite_lm": infinite_lm_synthetic.write,
    "expected_value": of_truth(expected_value_synthetic),
    "memory": memory_synthetic.write,
    "optimizer_ablation": ablation_synthetic.write,
    "infinite_rules": infinite_rules_synthetic.write,
    "width_limit": partial(
        width_limit_synthetic.write,
        variants=("unfrozen", "frozen", "adam_star", "adam_star_normalized"),
    ),
    "architectures": of_truth(architectures_synthetic),
    "feature_selection": of_truth(feature_selection_synthetic),
    "feature_support": of_truth(feature_support_synthetic),
    **{study: partial(studies_synthetic.write, study=study) for study in STUDIES},
}


def effects_of(experiment, folder):
    measured = importlib.import_module(reader(experiment)).load(folder)
    return importlib.import_module(effects_module(experiment)).effects(measured)


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_missing_is_named(tmp_path, name):
    folder = WRITERS[name](tmp_path)
    read = importlib.import_module(reader(name)).load
    for table, schema in schemas(name).items():
        whole, column = pd.read_parquet(folder / f"{table}.parquet"), schema.columns[-1]
        whole.drop(columns=column).to_parquet(folder / f"{table}.parquet")
        with pytest.raises(UserError, match=rf"{table}\.parquet.* lacks the column '{column}'"):
            read(folder)
        whole.to_parquet(folder / f"{table}.parquet")
    settings = load_json(folder / "settings.json")
    del settings["commit"]
    (folder / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"settings\.json.* lacks the key 'commit'"):
        read(folder)


FROM_A_FORMULA = {
    *STUDIES,
    *("optimizer_ablation", "infinite_rules", "infinite_lm", "width_limit", "feature_selection"),
}
"""Experiments whose synthetic differences are the same for every seed."""


def spread(experiment, folder):
    """Gives every run noise of its own: repeats that are all equal would leave no test."""
    rng = np.random.default_rng(0)
    for table, schema in schemas(experiment).items():
        path = folder / f"{table}.parquet"
        rows = pd.read_parquet(path)
        for column in rows.columns.intersection(schema.outcomes):
            rows[column] *= 1 + 1e-4 * rng.normal(size=len(rows))
        rows.to_parquet(path)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """The effects of every experiment on measurements in which nothing is missing."""
    found = {}
    for name, write_to in WRITERS.items():
        folder = write_to(tmp_path_factory.mktemp(name))
        if name in FROM_A_FORMULA:
            spread(name, folder)
        found[name] = effects_of(name, folder)
    return found


@pytest.mark.parametrize("claim", read_claims().claims, ids=lambda claim: claim.id)
def test_every_claim_asks_for_an_effect_that_there_is(claim, given):
    if importlib.util.find_spec(reader(claim.experiment)) is None:
        pytest.skip(f"there is no experiment {claim.experiment}")
    places = given[claim.experiment][claim.effect]
    assert places
    assert not any(math.isnan(place.p_above(0.0)) for place in places)
    if isinstance(claim.scope, list):
        assert set(claim.scope) <= {place.where for place in places}
    assert not_measured(claim.needs, places) == []


def test_every_experiment_that_a_claim_asks_is_one_of_the_project():
    assert {claim.experiment for claim in read_claims().claims} <= WRITERS.keys()


def width(truth, folder):
    return load(write(folder, truth))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return width(BASE, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def raw(base):
    """Test losses as the table has them: a row a seed, a column a variant and width."""
    return base.reported.pivot(index="seed", columns=["variant", "width"], values="test_loss")


CONTRASTED = ("ntk_minus_frozen", "adam_star_minus_frozen", "frozen_minus_unfrozen")


@pytest.mark.parametrize("name", CONTRASTED)
def test_contrasts_are_tested_by_scipys_paired_t_test(raw, given, name):
    first, second = name.split("_minus_")
    found = given["lm_width"][name]
    assert [effect.where for effect in found] == ["H = 64", "H = 256", "H = 1,024"]
    for effect, H in zip(found, BASE.widths, strict=True):
        expected = stats.ttest_rel(raw[first, H], raw[second, H], alternative="greater")
        assert effect.p_above(0.0) == pytest.approx(expected.pvalue, rel=1e-9)
        both = stats.ttest_rel(raw[first, H], raw[second, H]).confidence_interval(0.95)
        interval = effect.interval(0.95)
        assert (interval.lower, interval.upper) == pytest.approx(tuple(both), rel=1e-9)
        assert (effect.count, effect.lost) == (4, 0)


@pytest.mark.parametrize("name", CONTRASTED)
def test_intervals_over_documents_are_those_of_a_ratio_paired_by_document(base, given, name):
    """The bootstrap is near the t interval of the linearised ratio of losses to tokens."""
    where = base.reported[["key", "variant", "width"]]
    rows = base.documents.merge(where, on="key").set_index("variant")
    first, second = name.split("_minus_")
    for effect, H in zip(given["lm_width"][name], BASE.widths, strict=True):
        at_width = rows[rows["width"] == H]
        loss_D, other_D = (
            at_width.loc[variant].groupby("document")["loss_sum"].mean()
            for variant in (first, second)
        )
        tokens_D = at_width.loc[first].groupby("document")["tokens"].first()
        ratio = (loss_D - other_D).sum() / tokens_D.sum()
        left_D = (loss_D - other_D - ratio * tokens_D) / tokens_D.mean()
        low, high = stats.ttest_1samp(left_D, 0).confidence_interval(0.95)
        found = effect.documents
        assert found.estimate == pytest.approx(ratio, rel=1e-9)
        # 2,000 resamples know a half width to 5%, and an end to 10% of it; twice that, of 9.
        assert found.half_width == pytest.approx((high - low) / 2, rel=0.1)
        assert (found.lower, found.upper) == pytest.approx(
            (ratio + low, ratio + high), abs=0.2 * high
        )


def test_a_contrast_of_three_is_paired_by_seed(base, given):
    ntk, frozen, unfrozen = (base.losses(v, 256) for v in ("ntk", "frozen", "unfrozen"))
    by_seed = [(ntk[s] - frozen[s]) - (frozen[s] - unfrozen[s]) for s in ntk]
    effect = given["lm_width"]["optimizer_minus_features"][1]
    assert effect.estimate == pytest.approx(np.mean(by_seed), rel=1e-9)
    assert effect.error == pytest.approx(np.std(by_seed, ddof=1) / 2, rel=1e-9)
    assert effect.documents.lower < effect.estimate < effect.documents.upper


def test_the_share_closed_has_fiellers_interval(raw, given):
    for effect, H in zip(given["lm_width"]["gap_closed"], BASE.widths, strict=True):
        ntk, star, frozen = (raw[name, H].to_numpy() for name in ("ntk", "adam_star", "frozen"))
        interval = effect.interval(0.95)
        assert interval.estimate == pytest.approx(
            (ntk.sum() - star.sum()) / (ntk.sum() - frozen.sum()), rel=1e-9
        )
        ends = fiellers_ends(ntk - star, ntk - frozen)
        assert (interval.lower, interval.upper) == pytest.approx(ends, abs=FINE)


def test_sgd_is_compared_with_itself_at_each_narrower_width(base, given):
    found = given["lm_width"]["sgd_loss_over_width"]
    assert [effect.where for effect in found] == ["1,024 against 64", "1,024 against 256"]
    losses = [base.losses("ntk", H, "one_rate") for H in (1024, 64)]
    expected = np.mean([losses[0][seed] - losses[1][seed] for seed in losses[0]])
    assert found[0].estimate == pytest.approx(expected, rel=1e-9)


def test_what_diverged_or_never_ran_is_lost_and_counted(tmp_path):
    truth = dataclasses.replace(BASE, diverged=frozenset({("ntk", 256, 11)}))
    folder = write(tmp_path, truth)
    runs = pd.read_parquet(folder / "runs.parquet")
    never = (runs["variant"] == "frozen") & (runs["width"] == 1024) & (runs["seed"] == 13)
    runs[~never].to_parquet(folder / "runs.parquet")
    found = effects(load(folder))
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


def test_exponents_are_those_of_a_weighted_fit(tmp_path):
    measured = expected_value.load(
        expected_value_synthetic.write(tmp_path, expected_value_synthetic.Truth())
    )
    found = effects_of("expected_value", tmp_path)["trained_bias_exponent"]
    assert [e.where for e in found] == ["ADAM*", "SGD", "SGD, squared error"]
    for effect, case in zip(found, measured.cases, strict=True):
        cells = measured.trained(case)
        (_, exponent), covariance = optimize.curve_fit(
            lambda width, height, p: height * (width / 16) ** (2 * p),
            [cell.width for cell in cells],
            [cell.squared_bias.estimate for cell in cells],
            p0=(0.1, -1.0),
            sigma=[cell.standard_error for cell in cells],
            absolute_sigma=True,
        )
        # The profile is searched in steps of 0.001, and nearly a parabola.
        assert effect.estimate == pytest.approx(exponent, abs=1e-3)
        half = 1.959964 * math.sqrt(covariance[1, 1])
        assert effect.interval(0.95).half_width == pytest.approx(half, rel=0.05)


def test_an_exponent_rests_on_the_inits_of_all_widths(tmp_path):
    truth = expected_value_synthetic.Truth(trained_widths=(16, 32, 64), inits_per_unit=8)
    expected_value_synthetic.write(tmp_path, truth)
    found = effects_of("expected_value", tmp_path)["trained_bias_exponent"]
    assert [effect.count for effect in found] == [8 * (16 + 32 + 64)] * 3


def test_the_interval_of_an_exponent_is_the_profiles_made_symmetric(tmp_path, monkeypatch):
    expected_value_synthetic.write(tmp_path, expected_value_synthetic.Truth())
    skewed = Interval(-1.0, -1.3, -0.9)
    monkeypatch.setattr(expected_value.ExpectedValue, "slope", lambda self, case: skewed)
    for effect in effects_of("expected_value", tmp_path)["trained_bias_exponent"]:
        interval = effect.interval(0.95)
        assert (interval.estimate, interval.lower, interval.upper) == pytest.approx(
            (-1.0, -1.2, -0.8), rel=1e-9
        )
        # A normal law: at the ends of its 95% interval a one-sided p is 0.025.
        assert effect.p_above(-1.2) == pytest.approx(0.025, rel=1e-6)
        assert effect.p_below(-0.8) == pytest.approx(0.025, rel=1e-6)


def test_an_exponent_that_is_not_bounded_has_no_error(tmp_path):
    truth = expected_value_synthetic.Truth(trained_widths=(16,))
    expected_value_synthetic.write(tmp_path, truth)
    for effect in effects_of("expected_value", tmp_path)["trained_bias_exponent"]:
        assert math.isnan(effect.p_above(-2.0))


def test_finite_losses_are_paired_with_infinite_ones(tmp_path):
    infinite_lm_synthetic.write(tmp_path, diverged=[("ntk", 4096.0, 12)], infinite=("ntk",))
    (widest,) = effects_of("infinite_lm", tmp_path)["widest_minus_infinite"]
    assert widest.where == "NTK (SGD), H = 4,096"
    assert widest.estimate == pytest.approx(infinite_lm_synthetic.gap(4096, 0))
    assert (widest.count, widest.lost) == (2, 1)


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
    assert len(one_size.steps_of_kernel()) == 1
