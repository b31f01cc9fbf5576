# SPDX-License-Identifier: Apache-2.0
"""What the studies say, against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from infwidth.artifact.agreement import Agreement, compare_tables, name_runs
from infwidth.config.settings import Settings
from infwidth.experiments import measured as reader
from infwidth.experiments.depth.effects import effects as depth_effects
from infwidth.experiments.ladder.effects import effects as ladder_effects
from infwidth.experiments.readings.effects import effects as readings_effects
from infwidth.experiments.readings.plan import FACTORS
from infwidth.experiments.registry import STUDIES
from infwidth.experiments.scales.effects import effects as scales_effects
from infwidth.experiments.schema import STUDY
from tests.experiments.studies_synthetic import plain, write

SEEDS = [50, 51, 52, 53]


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("table", STUDY)
def test_the_roles_of_columns_name_every_row(tmp_path, study, table):
    folder = write(tmp_path, study)
    frame = pd.read_parquet(folder / f"{table}.parquet")
    schema = STUDY[table]
    if schema.by_run:
        frame = name_runs(frame, pd.read_parquet(folder / "runs.parquet"))
        schema = schema.named_by(STUDY["runs"])
    # compare_tables refuses two rows of one name.
    result = compare_tables(study, table, schema, frame, frame.sample(frac=1, random_state=0), 0.05)
    assert (result.word, result.identical) == (Agreement.IDENTICAL, len(frame))


def by_place(effects):
    return {effect.where: effect for effect in effects}


def difference(first, second, seeds):
    values = [plain("", first, 0, seed) - plain("", second, 0, seed) for seed in seeds]
    return np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))


def test_contrasts_are_paired_by_seed_at_every_rung(tmp_path):
    found = ladder_effects(reader.load(write(tmp_path, "ladder")))
    places = by_place(found["adam_star_minus_frozen"])
    assert len(places) == 10
    estimate, error = difference("adam_star", "frozen", SEEDS)
    for place in places.values():
        assert (place.estimate, place.error) == pytest.approx((estimate, error))
        assert (place.count, place.freedom, place.lost) == (4, 3, 0)
    last = ["bytes, 40,000 steps", "subwords, 40,000 steps"]
    assert list(by_place(found["adam_star_minus_frozen_at_last"])) == last
    assert list(by_place(found["gap_closed_at_last"])) == last
    late = by_place(found["ntk_minus_frozen_from_1500"])
    assert len(late) == 8
    assert "bytes, 500 steps" not in late
    gap = by_place(found["gap_closed"])["bytes, 500 steps"]
    losses = {v: [plain("", v, 0, s) for s in SEEDS] for v in ("ntk", "adam_star", "frozen")}
    ntk, star, frozen = (np.mean(losses[v]) for v in ("ntk", "adam_star", "frozen"))
    assert gap.estimate == pytest.approx((ntk - star) / (ntk - frozen))
    legs = by_place(found["optimizer_minus_features"])["bytes, 500 steps"]
    unfrozen = np.mean([plain("", "unfrozen", 0, s) for s in SEEDS])
    assert legs.estimate == pytest.approx((ntk - frozen) - (frozen - unfrozen))


def on_a_law(condition, variant, width, seed):
    steps = int(condition.split("_")[1])
    above = {"ntk": 0.02 + 3 / steps**0.5, "adam_star": 1 / steps**0.5}.get(variant, 0.0)
    return 1.6 + 0.1 * seed + above * (1 + 0.01 * seed)


def test_the_shorter_rungs_predict_the_longest_where_a_law_holds(tmp_path):
    found = ladder_effects(reader.load(write(tmp_path, "ladder", loss=on_a_law)))
    for effect in found["predicted_minus_measured"]:
        # The right law is among the models, and the interval spans the others.
        assert effect.estimate == pytest.approx(0, abs=1e-9)
        ends = effect.interval(0.95)
        assert ends.lower < 0 < ends.upper
        # 4 exponents from 4 rungs and from 3, and two powers at once.
        assert len(effect.readings) == 9
    since = by_place(found["adam_star_minus_frozen_since_1500"])[
        "bytes, 40,000 steps against 1,500"
    ]
    assert since.estimate == pytest.approx((40000**-0.5 - 1500**-0.5) * (1 + 0.01 * 51.5))


def test_a_run_that_diverged_is_lost_and_forbids_the_test(tmp_path):
    lost = [("bytes_1500", "adam_star", 256, 51)]
    found = ladder_effects(reader.load(write(tmp_path, "ladder", lost=lost)))
    place = by_place(found["adam_star_minus_frozen"])["bytes, 1,500 steps"]
    assert (place.count, place.lost) == (3, 1)
    assert math.isnan(place.p_above(0.0))
    assert by_place(found["ntk_minus_frozen"])["bytes, 1,500 steps"].lost == 0
    # What a lost seed says of the other rungs is not used in part.
    predicted = {effect.where for effect in found["predicted_minus_measured"]}
    assert predicted == {
        "bytes, 40,000 steps, NTK (SGD)",
        "subwords, 40,000 steps, ADAM* NTK",
        "subwords, 40,000 steps, NTK (SGD)",
    }


def test_wide_layers_have_four_features_for_each_output(tmp_path):
    found = depth_effects(reader.load(write(tmp_path, "depth")))
    assert list(by_place(found["ntk_minus_frozen"])) == ["H = 64", "H = 256", "H = 1,024"]
    assert list(by_place(found["ntk_minus_frozen_wide"])) == ["H = 256", "H = 1,024"]
    estimate, _ = difference("ntk", "frozen", SEEDS[:3])
    assert found["ntk_minus_frozen"][0].estimate == pytest.approx(estimate)


SLOPES = {"steps": -0.03, "activation": 0.02, "trunk_optimizer": 0.07}


def with_slopes(condition, variant, width, seed):
    """ADAM* is moved by some factors, and by a seed's noise of ±0.002 in every cell."""
    if variant != "adam_star" or condition == "centre":
        return 1.6 + 0.1 * seed
    high = condition.removeprefix("cell_")
    signs = {name: 1 if chr(ord("a") + k) in high else -1 for k, name in enumerate(FACTORS)}
    moved = sum(slope / 2 * signs[name] for name, slope in SLOPES.items())
    return 1.7 + 0.1 * seed + moved + (0.002 if seed == 50 else -0.002)


def test_cells_share_their_error_and_factors_have_their_main_effects(tmp_path):
    found = readings_effects(reader.load(write(tmp_path, "readings", loss=with_slopes)))
    cells = found["adam_star_minus_frozen"]
    assert len(cells) == 17
    # Over 17 cells of two seeds, the centre's without noise.
    variance = 16 * (0.002**2 * 2) / 17
    assert {cell.freedom for cell in cells} == {17}
    assert cells[0].error == pytest.approx(math.sqrt(variance / 2))
    main = by_place(found["adam_star_minus_frozen_main"])
    assert list(main) == list(FACTORS)
    for factor, effect in main.items():
        assert effect.estimate == pytest.approx(SLOPES.get(factor, 0.0), abs=1e-12)
        assert effect.error == pytest.approx(math.sqrt(16 * variance / 2) / 8)
    assert len(found["optimizer_minus_features"]) == 4
    beyond = by_place(found["adam_star_beyond_half"])["centre"]
    assert beyond.estimate == pytest.approx(0.0)


def test_scales_are_compared_by_width_and_controls_with_their_like(tmp_path):
    found = scales_effects(reader.load(write(tmp_path, "scales")))
    name = "ntk_measured_minus_frozen"
    widths = ["H = 16", "H = 64", "H = 256", "H = 1,024", "H = 4,096"]
    assert list(by_place(found[name])) == widths
    other = [f"H = {width}, the other vocabulary" for width in ("256", "1,024")]
    assert list(by_place(found[f"{name}_wide"])) == [*widths[2:], *other]
    assert "H = 4,096" not in by_place(found["muon_star_measured_minus_frozen"])
    estimate, error = difference("ntk_measured", "frozen", range(60, 68))
    assert (found[name][0].estimate, found[name][0].error) == pytest.approx((estimate, error))
    gains = by_place(found["permuted_gains"])
    assert len(gains) == 4
    estimate, _ = difference("ntk", "ntk_measured", range(60, 64))
    assert gains["H = 256, NTK (SGD)"].estimate == pytest.approx(estimate)
    # A control's loss is that of the same formula: its own seeds are paired, and differ by nothing.
    assert all(e.estimate == 0 and e.count == 4 for e in found["held_20_minus_before"])
    assert len(found["held_20_minus_before"]) == 4


def test_what_a_smaller_plan_leaves_out_has_no_place(tmp_path):
    small = Settings.model_validate(
        {"scales": {"holds": [], "permuted": False, "activation": False, "stream": False}}
    )
    found = scales_effects(reader.load(write(tmp_path, "scales", small)))
    for name in ("held_20_minus_before", "activation_minus_before", "permuted_gains"):
        assert found[name] == []
