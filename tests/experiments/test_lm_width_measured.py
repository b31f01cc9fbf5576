# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from infwidth.config.errors import UserError
from infwidth.experiments.lm_width.effects import effects
from infwidth.experiments.lm_width.measured import TABLES, load
from infwidth.stats.verdicts import worse
from tests.experiments.synthetic import Truth, write

SMALL = Truth(widths=(64, 1024), seeds=4, reference_width=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("measurements"), SMALL)


@pytest.fixture(scope="module")
def measured(folder):
    return load(folder)


def test_constant_serves_every_width(measured):
    assert measured.losses("constant", 64) == measured.losses("constant", 1024)
    assert len(measured.losses("constant", 64)) == SMALL.seeds


def test_document_losses_sum_to_the_test_loss(measured):
    loss_SxD, tokens_SxD = measured.document_losses("frozen", 64)
    ratios_S = loss_SxD.sum(axis=1) / tokens_SxD.sum(axis=1)
    assert ratios_S == pytest.approx(list(measured.losses("frozen", 64).values()), rel=1e-12)


def test_known_differences_lie_in_their_intervals(measured):
    # 99.9% intervals: over the 10 statements below a false alarm is one in a hundred.
    sure = dataclasses.replace(
        measured, statistics=measured.statistics.model_copy(update={"confidence": 0.999})
    )
    for width in SMALL.widths:
        for pair in (("ntk", "frozen"), ("ntk", "adam_star"), ("frozen", "unfrozen")):
            found = sure.compare(*pair, width)
            truth = SMALL.loss(pair[0], width) - SMALL.loss(pair[1], width)
            assert found.over_seeds.lower < truth < found.over_seeds.upper
            assert found.over_seeds.count == SMALL.seeds
        star, frozen = (SMALL.loss(name, width) for name in ("adam_star", "frozen"))
        truth = (SMALL.loss("ntk", width) - star) / (SMALL.loss("ntk", width) - frozen)
        share = sure.share_closed(width)
        assert not share.defined or share.lower < truth < share.upper


def test_pairs_have_scipys_interval_and_correlation(measured):
    ntk, frozen = (list(measured.losses(name, 64).values()) for name in ("ntk", "frozen"))
    found = measured.compare("ntk", "frozen", 64)
    theirs = stats.ttest_rel(ntk, frozen).confidence_interval(0.95)
    assert (found.over_seeds.lower, found.over_seeds.upper) == pytest.approx(tuple(theirs))
    assert found.correlation == pytest.approx(stats.pearsonr(ntk, frozen).statistic)


def test_two_pairs_have_no_correlation(tmp_path):
    two = load(write(tmp_path, Truth(widths=(64, 1024), seeds=2, reference_width=64)))
    assert math.isnan(two.compare("ntk", "frozen", 64).correlation)


def test_documents_shared_by_two_variants_cancel_in_their_difference(measured):
    alone = measured.loss("ntk", 64).over_documents.half_width
    apart = measured.compare("ntk", "frozen", 64).effect.documents.half_width
    # documents differ by 0.08, variants on one document by 0.014
    assert apart < alone / 3


def test_pairs_with_a_diverged_run_are_dropped_counted_and_not_judged(tmp_path):
    truth = dataclasses.replace(SMALL, diverged=frozenset({("ntk", 64, 10)}))
    broken = load(write(tmp_path, truth))
    found = broken.compare("ntk", "frozen", 64)
    assert (found.over_seeds.count, found.effect.lost) == (SMALL.seeds - 1, 1)
    assert np.isnan(worse(found.effect).p_holds)
    assert broken.loss("ntk", 64).diverged == 1


def test_a_variant_that_never_ran_compares_to_nothing(measured, tmp_path):
    few = load(write(tmp_path, dataclasses.replace(SMALL, variants=("ntk",))))
    assert few.compare("ntk", "frozen", 64) is None
    assert few.share_closed(64) is None
    assert few.variants == ["ntk"]


def test_a_run_that_is_missing_is_lost_as_one_that_diverged(tmp_path):
    folder = write(tmp_path, SMALL)
    runs = pd.read_parquet(folder / "runs.parquet")
    gone = (runs["variant"] == "ntk") & (runs["width"] == 64) & (runs["role"] == "report")
    runs[~(gone & (runs["seed"] == 11))].to_parquet(folder / "runs.parquet")
    measured = load(folder)
    found = measured.compare("ntk", "frozen", 64)
    assert (found.effect.lost, found.over_seeds.count) == (1, SMALL.seeds - 1)
    assert math.isnan(worse(found.effect).p_holds)
    assert measured.share_closed(64) is None
    diverged = {effect.where: effect for effect in effects(measured)["diverged_runs"]}
    assert (diverged["NTK (SGD)"].lost, diverged["Frozen features"].lost) == (1, 0)


FILES = [*(f"{name}.parquet" for name in TABLES), "settings.json"]


@pytest.mark.parametrize("name", FILES)
def test_missing_or_damaged_files_are_named(folder, tmp_path, name):
    for each in FILES:
        if each != name:
            (tmp_path / each).write_bytes((folder / each).read_bytes())
    with pytest.raises(UserError, match=name):
        load(tmp_path)
    (tmp_path / name).write_bytes((folder / name).read_bytes()[:100])
    with pytest.raises(UserError, match=name):
        load(tmp_path)


def test_strange_values_are_named(tmp_path):
    write(tmp_path, SMALL)
    runs = pd.read_parquet(tmp_path / "runs.parquet")
    runs.assign(variant="frosen").to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(UserError, match=r"'variant' holds 'frosen'; allowed are unfrozen"):
        load(tmp_path)
    runs[runs["role"] != "report"].to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(UserError, match="no row has role 'report'"):
        load(tmp_path)


def test_missing_and_ill_typed_settings_are_named(tmp_path):
    write(tmp_path, SMALL)
    path = tmp_path / "settings.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"statistics": {"confidence": 2}}))
    with pytest.raises(UserError, match=r"settings\.json: statistics\.confidence: .*less than 1"):
        load(tmp_path)
    path.write_text(json.dumps(settings | {"lm_width": {"widths": [64]}}))
    with pytest.raises(UserError, match="'reference_width'"):
        load(tmp_path)


def test_runs_scored_on_other_documents_are_refused(tmp_path):
    write(tmp_path, SMALL)
    documents = pd.read_parquet(tmp_path / "documents.parquet")
    documents.iloc[1:].to_parquet(tmp_path / "documents.parquet")
    measured = load(tmp_path)
    first = documents["key"].iloc[0].split("-")[1]
    with pytest.raises(UserError, match="not scored on the same documents"):
        measured.document_losses(first, SMALL.widths[0])
