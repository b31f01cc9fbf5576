# SPDX-License-Identifier: Apache-2.0
import json
import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from infwidth.config.errors import UserError
from infwidth.experiments.architectures import measured as architectures
from infwidth.experiments.architectures import table9_architectures
from infwidth.stored import load_json
from tests.experiments.architectures_synthetic import Truth, write

LOST = ("cnn", "adam_star", 128, 12)
EDGE = ("rnn", "ntk")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return architectures.load(write(tmp_path_factory.mktemp("whole"), Truth()))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    truth = Truth(diverged=frozenset({LOST}), edge=frozenset({EDGE}))
    return architectures.load(write(tmp_path_factory.mktemp("damaged"), truth))


def test_losses_are_means_over_seeds_and_the_control_serves_every_width(measured):
    assert measured.architectures == ["mlp", "cnn", "rnn"]
    assert measured.widths == [16, 128, 1024]
    assert measured.seeds == [10, 11, 12, 13, 14]
    runs = measured.measured.tables["runs"]
    cell = runs.query("architecture == 'rnn' and variant == 'ntk' and width == 128")["test_loss"]
    loss = measured.loss("rnn", "ntk", 128)
    assert loss.estimate == pytest.approx(cell.mean(), rel=1e-12)
    half = stats.t.ppf(0.975, 4) * cell.std() / math.sqrt(5)
    assert loss.half_width == pytest.approx(half, rel=1e-9)
    assert measured.loss("mlp", "constant", 16) == measured.loss("mlp", "constant", 1024)


def test_effects_are_paired_by_seed_at_every_architecture_and_width(measured):
    found = architectures.effects(measured)
    truth = {
        "ntk_minus_frozen": 0.2,
        "ntk_minus_adam_star": 0.15,
        "adam_star_minus_frozen": 0.05,
        "adam_star_normalized_minus_frozen": 0.01,
        "frozen_minus_unfrozen": 0.1,
    }
    assert found.keys() == truth.keys()
    for name, effects in found.items():
        places = product(("MLP", "CNN", "RNN"), ("16", "128", "1,024"))
        assert [e.where for e in effects] == [f"{name}, H = {width}" for name, width in places]
        for effect in effects:
            # The seeds' shared part, ten times the noise, is not in a difference.
            assert effect.error < 0.003
            assert effect.estimate == pytest.approx(truth[name], abs=0.003)
            assert (effect.count, effect.freedom, effect.lost) == (5, 4, 0)


def test_the_interval_over_images_is_of_the_mean_over_seeds(tmp_path):
    folder = write(tmp_path, Truth(architectures=("mlp",)))
    table = pd.read_parquet(folder / "images.parquet")
    # Frozen features lose on one image of 20 by 0.4 more.
    chosen = (table["variant"] == "frozen") & (table["width"] == 16) & (table["image"] == 3)
    table.loc[chosen, "loss"] += 0.4
    table.to_parquet(folder / "images.parquet")
    measured = architectures.load(folder)
    effect = measured.difference("mlp", "frozen", "unfrozen", 16)
    own = table[table["width"] == 16].pivot_table("loss", "image", "variant")
    difference_I = (own["frozen"] - own["unfrozen"]).to_numpy()
    half = stats.t.ppf(0.975, 19) * difference_I.std(ddof=1) / math.sqrt(20)
    assert effect.documents.half_width == pytest.approx(half, rel=1e-9)
    assert effect.documents.estimate == pytest.approx(difference_I.mean(), rel=1e-9)


def test_the_share_of_the_gap_is_fiellers_ratio(measured):
    share = measured.share_closed("cnn", 128)
    assert share.defined
    assert share.lower < 0.15 / 0.2 < share.upper
    assert share.estimate == pytest.approx(0.75, abs=0.03)
    assert share.fraction == 0.5


def test_a_run_that_diverged_is_counted_and_lost(damaged):
    architecture, variant, width, _ = LOST
    assert damaged.diverged(architecture, variant, width) == 1
    assert damaged.loss(architecture, variant, width).count == 4
    effect = damaged.difference(architecture, variant, "frozen", width)
    assert (effect.count, effect.lost) == (4, 1)
    assert np.isfinite([effect.estimate, effect.documents.half_width]).all()
    assert math.isnan(effect.p_above(0.0))
    assert damaged.share_closed(architecture, width) is None
    assert damaged.share_closed("mlp", width) is not None


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_run_that_is_missing_is_lost_as_one_that_diverged(tmp_path, everywhere):
    folder = write(tmp_path, Truth(architectures=("cnn",)))
    runs = pd.read_parquet(folder / "runs.parquet")
    gone = runs["seed"] == 12
    if not everywhere:
        gone &= (runs["variant"] == "adam_star") & (runs["width"] == 128)
    runs[~gone].to_parquet(folder / "runs.parquet")
    measured = architectures.load(folder)
    assert measured.seeds == [10, 11, 12, 13, 14]
    effect = measured.difference("cnn", "adam_star", "frozen", 128)
    assert (effect.count, effect.lost) == (4, 1)
    assert math.isnan(effect.p_above(0.0))
    assert measured.share_closed("cnn", 128) is None
    other = measured.difference("cnn", "ntk", "frozen", 128)
    assert other.lost == everywhere
    assert (measured.share_closed("cnn", 16) is None) == everywhere


def test_what_did_not_run_has_no_effect(tmp_path):
    truth = Truth(variants=("ntk", "frozen"), seeds=1)
    measured = architectures.load(write(tmp_path, truth))
    assert measured.difference("mlp", "adam_star", "frozen", 16) is None
    assert measured.share_closed("mlp", 16) is None
    found = architectures.effects(measured)
    assert [len(effects) for effects in found.values()] == [9, 0, 0, 0, 0]
    assert math.isnan(found["ntk_minus_frozen"][0].interval(0.95).half_width)
    table = table9_architectures.build(measured)
    assert set(table.shown["gap closed"]) == {"–"}
    assert "One seed" in table.caption


def test_the_table_shows_differences_and_says_what_it_must(damaged):
    table = table9_architectures.build(damaged)
    row = table.shown.query("model == 'CNN' and H == '128'").iloc[0]
    assert row["NTK − frozen"].startswith("+0.20")
    assert row["ADAM* − frozen"].endswith("(1 lost)")
    assert row["gap closed"] == "–"
    assert "%" in table.shown.query("model == 'MLP' and H == '128'").iloc[0]["gap closed"]
    assert "NTK (SGD) 3 (not interior)" in table.caption
    assert "Unfrozen 1 (κ 3)" in table.caption
    assert "ADAM*'s formula is our reconstruction" in table.caption
    assert "each seed draws its training images" in table.caption
    raw = table.raw.set_index(["architecture", "width", "quantity"]).sort_index()
    own = raw.loc[("mlp", 16, "test_loss/ntk")]
    assert own["estimate"] == damaged.loss("mlp", "ntk", 16).estimate
    assert raw.loc[("cnn", 128, "adam_star_minus_frozen"), "seeds_lost"] == 1


def test_a_section_that_is_missing_or_without_seeds_is_named(tmp_path):
    path = write(tmp_path, Truth(architectures=("mlp",))) / "settings.json"
    settings = load_json(path)
    del settings["architectures"]["seeds"]
    path.write_text(json.dumps(settings))
    with pytest.raises(UserError, match="architectures lacks the key 'seeds'"):
        architectures.load(tmp_path)
    del settings["statistics"]
    path.write_text(json.dumps(settings))
    with pytest.raises(UserError, match="'statistics'"):
        architectures.load(tmp_path)
