# SPDX-License-Identifier: Apache-2.0
"""Training against the rules written out in NumPy, and the plan on models in name only.

Shapes: P pixels, A images, E classes; S steps of K images; H width.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.architectures import measure as architectures
from infwidth.experiments.architectures.models import (
    Outcome,
    Program,
    batches,
    build,
    draw,
    make_problem,
)
from infwidth.experiments.architectures.settings import ArchitecturesSettings
from infwidth.experiments.parts import Parts
from infwidth.models.architectures import layer_maker
from infwidth.models.variables import Groups, merge, split
from infwidth.training.rules import in_gradients
from tests.optim.oracle import Rule

H = 6
SETTINGS = ArchitecturesSettings.model_validate(
    {
        "architectures": ["rnn", "mlp"],
        "variants": ["unfrozen", "ntk", "constant"],
        "widths": [4, 8],
        "reference_width": 4,
        "seeds": [10, 11],
        "validation_images": 8,
        "test_images": 10,
        "mlp_embedding": 4,
        "cnn_channels": 3,
        "rnn_state": 4,
        "steps": 5,
        "batch_size": 6,
        "warmup_steps": 2,
        "tuning": {
            "seeds": [0, 1],
            "learning_rates": [1.0, 3.0],
            "kappas": [1.0, 3.0, 9.0],
            "max_extensions": 2,
            "trunk_factors": [0.5],
        },
    }
)


SEEDS = [*SETTINGS.tuning.seeds, *SETTINGS.seeds]


def examples():
    """Images of 4 classes; the first pixel of each tells which it is."""
    x_AxP = 3 + 2 * np.random.default_rng(0).normal(size=(40, 64))
    return x_AxP, (x_AxP[:, 0] > 3) + 2 * (x_AxP[:, 1] > 3)


@pytest.fixture(scope="module")
def problem():
    return make_problem(SETTINGS, *examples())


def images_in(problem, seed, name):
    """The places in `examples` of the images of a split, as a seed draws it, in its order."""
    seen = np.asarray(draw(problem, seed).x_PxA)[0]
    # Scaling keeps the order of the images by their first pixel.
    return np.argsort(examples()[0][:, 0])[seen.argsort().argsort()][problem.splits[name]].tolist()


def test_a_draw_is_of_the_images_given_scaled_as_what_is_trained_on(problem):
    lengths = {name: len(range(40)[images]) for name, images in problem.splits.items()}
    assert lengths == {"train": 22, "validation": 8, "test": 10}
    assert problem.classes == 4
    x_AxP, label_A = examples()
    for seed in SEEDS:
        places = [place for name in problem.splits for place in images_in(problem, seed, name)]
        assert sorted(places) == list(range(40))
        drawn = draw(problem, seed)
        np.testing.assert_array_equal(drawn.label_A, label_A[places])
        # By the images trained on: every pixel is centred, and all are divided by one number.
        train_AxP = x_AxP[places[:22]]
        size = np.sqrt(np.square(train_AxP - train_AxP.mean(axis=0)).mean())
        expected_AxP = (x_AxP[places] - train_AxP.mean(axis=0)) / size
        np.testing.assert_allclose(drawn.x_PxA, expected_AxP.T, atol=1e-5)


def test_all_seeds_share_the_test_images_and_none_the_other_splits(problem):
    tested = images_in(problem, SEEDS[0], "test")
    assert all(images_in(problem, seed, "test") == tested for seed in SEEDS)
    for name in ("train", "validation"):
        splits = {frozenset(images_in(problem, seed, name)) for seed in SEEDS}
        assert len(splits) == len(SEEDS)
        assert not any(split & set(tested) for split in splits)
    other = make_problem(SETTINGS.model_copy(update={"split_seed": 3}), *examples())
    assert set(images_in(other, 0, "test")) != set(tested)


def test_the_split_is_not_drawn_as_the_batches_are(problem):
    first_pixel = examples()[0][:, 0]
    for seed in SEEDS:
        drawn = images_in(problem, seed, "train") + images_in(problem, seed, "validation")
        alike = problem.x_AxP[np.random.default_rng(seed).permutation(30), 0]
        assert (first_pixel[drawn] != alike).any()


def test_every_image_is_seen_once_before_any_comes_again(problem):
    index_SxK = batches(problem, SETTINGS, seed=3)
    assert index_SxK.shape == (5, 6)
    assert sorted(index_SxK.ravel()[:22]) == list(range(22))
    assert (index_SxK != batches(problem, SETTINGS, seed=4)).any()


def test_too_few_images_are_named():
    with pytest.raises(UserError, match="hold 18 of 20 images out"):
        make_problem(SETTINGS, np.ones((20, 64)), np.zeros(20, int))


def schedule(step):
    """A warm-up of 2 steps from 0 to 1, then a cosine to a tenth at step 5."""
    if step < 2:
        return step / 2
    return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - 2) / 3)) / 2


def train(problem, kind, variant, trunk, readout, kappa, seed):
    """The loss of each step, and those of the first images at the end, by rules written out."""
    net = build(problem, SETTINGS, kind, layer_maker(variant.features, H), seed)
    images = draw(problem, seed)
    structure, groups = split(net)

    @partial(jax.value_and_grad, has_aux=True)
    def mean_loss(groups, index_K):
        logits_ExK = merge(structure, groups)(images.x_PxA[:, index_K])
        chosen_ExK = jax.nn.one_hot(images.label_A[index_K], 4, axis=0)
        loss_K = -jnp.sum(chosen_ExK * jax.nn.log_softmax(logits_ExK, axis=0), axis=0)
        return jnp.mean(loss_K), loss_K

    compiled = jax.jit(mean_loss)
    values = jax.tree.map(lambda x: np.asarray(x, np.float64), groups._asdict())
    words = {"trunk": "adam", "features": variant.features, "readout": variant.readout}
    rules = {
        (group, name): Rule({"adam_star": "per_output"}.get(word, word), 0.9, 0.98, 1e-9)
        for group, word in words.items()
        if word != "fixed"
        for name in values[group]
    }
    peak = {"trunk": trunk, "features": kappa * math.sqrt(net.feature_inputs + 1) * trunk}

    def losses_and_gradients(index_K):
        rounded = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), values)
        (mean, loss_K), gradients = compiled(Groups(**rounded), index_K)
        return float(mean), np.asarray(loss_K), gradients._asdict()

    step_losses = []
    for step, index_K in enumerate(batches(problem, SETTINGS, seed)):
        mean, _, found = losses_and_gradients(index_K)
        step_losses.append(mean)
        for (group, name), rule in rules.items():
            g = np.asarray(found[group][name], np.float64) * (1 if group == "trunk" else H)
            if step == 0 and group == "readout":
                unit = 1 / np.sqrt(np.square(g).mean()) if in_gradients(words[group]) else 1
                peak[group] = readout * unit
            values[group][name] -= schedule(step) * peak[group] * rule.direction(g)
    return step_losses, losses_and_gradients(np.arange(6, dtype=np.int32))[1]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("mlp", "unfrozen"), ("mlp", "frozen"), ("cnn", "ntk"), ("rnn", "adam_star")],
)
def test_training_is_that_of_the_rules(problem, kind, name):
    program = Program(problem, SETTINGS, kind, ALL_VARIANTS[name], H)
    kappa = 2.0 if name == "unfrozen" else None
    outcome = program.run(0.05, 3.0, kappa, seed=7)
    expected_S, expected_K = train(
        problem, kind, ALL_VARIANTS[name], 0.05, 3.0, kappa or 0.0, seed=7
    )
    np.testing.assert_allclose(outcome.step_loss_S, expected_S, rtol=1e-4)
    np.testing.assert_allclose(outcome.loss_A[:6], expected_K, rtol=1e-3)
    still = program.run(0.0, 0.0, kappa, seed=7)
    assert np.abs(outcome.loss_A - still.loss_A).max() > 0.1
    assert outcome.correct_A.dtype == bool
    assert np.abs(program.run(0.05, 3.0, kappa, seed=8).loss_A - outcome.loss_A).max() > 0.1
    assert program._jitted._cache_size() == 1  # for both seeds and all rates


@pytest.mark.parametrize(
    ("step_losses", "after", "diverged"),
    [
        ([2.0, 2.9, 1.0], 1.0, False),
        ([2.0, 3.1, 1.0], 1.0, True),
        ([2.0, math.nan, 1.0], 1.0, True),
        ([2.0, 1.0, 1.0], math.inf, True),
    ],
)
def test_a_loss_that_is_not_finite_or_too_high_is_divergence(step_losses, after, diverged):
    outcome = Outcome(np.array(step_losses), np.array([1.0, after]), np.array([True, False]))
    assert outcome.diverged(1.5) is diverged


class FakeProgram:
    """A model in name only: best at a readout's rate of 9 and a κ of 3, gone at a rate of 27."""

    ran = 0

    def __init__(self, problem, settings, architecture, variant, width):
        self._images, self._width = len(problem.x_AxP), width

    def run(self, trunk, readout, kappa, seed):
        FakeProgram.ran += 1
        loss = 1.0 + abs(math.log10(trunk) + 2)
        if readout is not None:
            loss = abs(math.log10(readout / 9)) + 0.01 * seed + 1 / self._width
        if kappa is not None:
            loss += abs(math.log10(kappa / 3))
        steps_S = np.array([1.0, 2.0 if readout == 27.0 else 1.0])
        return Outcome(steps_S, np.full(self._images, loss), np.arange(self._images) % 2 == 0)


@pytest.fixture
def measure(tmp_path, monkeypatch):
    monkeypatch.setattr(architectures, "Program", FakeProgram)
    monkeypatch.setattr(architectures, "load_digits", examples)

    def run(own=SETTINGS, **options):
        FakeProgram.ran = 0
        settings = Settings().model_copy(update={"architectures": own})
        return architectures.tables(settings, lambda code: Parts(tmp_path, code, "cpu", **options))

    return run


def test_rates_are_tuned_at_one_width_and_reported_on_other_seeds(measure):
    tables = measure()
    selection = tables["selection"].set_index(["architecture", "variant"])
    assert len(selection) == 6
    for kind in ("rnn", "mlp"):
        chosen = selection.loc[kind]
        rates = {"unfrozen": 9.0, "ntk": 9.0, "constant": 0.01}
        assert chosen["learning_rate"].to_dict() == rates
        assert chosen["interior"].to_dict() == {"unfrozen": True, "ntk": True, "constant": False}
        assert chosen.loc["unfrozen", "kappa"] == 3.0
    runs = tables["runs"]
    assert set(zip(runs["role"], runs["seed"], strict=True)) == {
        *(("tuning", 0), ("tuning", 1), ("trunk", 0), ("trunk", 1)),
        *(("report", 10), ("report", 11)),
    }
    tuning, reported = runs[runs["role"] == "tuning"], runs[runs["role"] == "report"]
    assert set(tuning["width"]) == {4}
    assert tuning["test_loss"].isna().all()
    lost = tuning[tuning["learning_rate"] == 27.0]
    assert len(lost) == 8  # of each architecture: ntk, and unfrozen at the best κ; two seeds
    assert set(lost["status"]) == {"diverged"}
    places = reported.groupby(["architecture", "variant", "width"]).size()
    cells = [("unfrozen", 4), ("unfrozen", 8), ("ntk", 4), ("ntk", 8), ("constant", 0)]
    assert places.to_dict() == {(kind, *cell): 2 for kind in ("rnn", "mlp") for cell in cells}
    ntk = reported[reported["variant"] == "ntk"]
    np.testing.assert_allclose(ntk["test_loss"], 0.01 * ntk["seed"] + 1 / ntk["width"])
    assert ntk["test_accuracy"].tolist() == [0.5] * 8
    assert reported[reported["variant"] == "constant"]["learning_rate"].isna().all()
    images = tables["images"]
    assert len(images) == 10 * len(reported)
    assert images.groupby(["architecture", "variant", "width", "seed"]).size().eq(10).all()


def test_what_was_trained_is_kept_and_one_more_seed_trains_alone(measure):
    few = {"architectures": ["cnn"], "variants": ["ntk", "constant"]}
    settings = SETTINGS.model_copy(update=few)
    first = measure(settings)
    trained = FakeProgram.ran
    assert trained == (8 + 4) + (4 + 2)  # trials of two seeds, then reports
    again = measure(settings)
    assert FakeProgram.ran == 0
    for name, table in first.items():
        pd.testing.assert_frame_equal(again[name], table)
    measure(settings.model_copy(update={"seeds": [10, 11, 12]}))
    assert FakeProgram.ran == 2 + 1
    measure(settings.model_copy(update={"steps": 6}))
    assert FakeProgram.ran == trained
    measure(settings, retrain=True)
    assert FakeProgram.ran == trained


def test_the_code_of_its_variant_is_part_of_what_is_kept(measure, monkeypatch):
    few = {"architectures": ["cnn"], "variants": ["unfrozen", "ntk"]}
    settings = SETTINGS.model_copy(update=few)
    monkeypatch.setattr(architectures, "variants_digest", lambda _, rows: rows[0].readout)
    measure(settings)
    monkeypatch.setattr(
        architectures, "variants_digest", lambda _, rows: rows[0].readout.replace("sgd", "other")
    )
    measure(settings)
    assert FakeProgram.ran == 8 + 4  # those of ntk


def test_a_variant_of_which_every_rate_diverged_is_named(measure, monkeypatch):
    lost = Outcome(np.array([1.0, math.nan]), np.full(40, math.nan), np.zeros(40, bool))
    monkeypatch.setattr(FakeProgram, "run", lambda *_: lost)
    with pytest.raises(UserError, match=r"unfrozen in the rnn.*architectures\.tuning\.learning_r"):
        measure()
    only = SETTINGS.model_copy(update={"variants": ["constant"]})
    with pytest.raises(UserError, match=r"lower architectures\.trunk_learning_rate"):
        measure(only)
