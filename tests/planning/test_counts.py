# SPDX-License-Identifier: Apache-2.0
"""Counts from settings alone, against the arrays and programs that training makes."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS, VARIANTS
from infwidth.data.vocabulary import ByteVocabulary
from infwidth.infinite import room
from infwidth.models.flops import training_flops
from infwidth.planning import sizes
from infwidth.planning.memory import step_memory
from infwidth.planning.texts import BYTE_VOCABULARY
from infwidth.planning.work import infinite_step_flops, run_flops
from infwidth.training import checkpoints, rules
from infwidth.training.infinite_step import InfiniteProgram
from infwidth.training.spec import RunSpec
from infwidth.training.step import compile_program

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
SMALL = ModelSettings(d_model=8, layers=2, heads=2, context=16)
SHORT = TrainingSettings(
    steps=8, warmup_steps=1, batch_size=4, evaluation_tokens=160, log_every=4, checkpoint_every=4
)


def test_constants_that_stand_twice_agree():
    assert sizes.CHECKPOINTS_KEPT == checkpoints._KEPT
    assert ByteVocabulary.size == BYTE_VOCABULARY


def test_sizes_and_flops_are_those_that_published_runs_recorded():
    table = pd.read_csv(PUBLISHED / "tables" / "table4_compute.csv")
    model, training = ModelSettings(), TrainingSettings()
    assert len(table) == 25
    for row in table.itertuples():
        variant = VARIANTS[row.variant]
        counts = sizes.parameters(model, variant, row.width, 258)
        wanted = (row.parameters_trunk, row.parameters_features, row.parameters_readout)
        assert counts == wanted
        assert sizes.trained(counts, variant) == row.parameters_trained
        numbers = sizes.optimizer_numbers(model, training, variant, row.width, 258)
        assert sizes.FLOAT * numbers == row.optimizer_state_bytes
        spec = _spec(variant, row.width, model, training, 258)
        assert run_flops(spec)[0] == row.flops_mean


@pytest.mark.parametrize("name", ALL_VARIANTS)
@pytest.mark.parametrize("target", ["residual", "vocabulary"])
def test_the_optimizer_keeps_as_much_as_is_counted(name, target):
    model = SMALL.model_copy(update={"readout_target": target})
    variant, H, V, D = ALL_VARIANTS[name], 5, 11, SMALL.d_model
    mlps, E = (1, V) if target == "vocabulary" else (SMALL.layers, D)
    counts = sizes.parameters(model, variant, H, V)
    shapes = {
        "trunk": {"all": jax.ShapeDtypeStruct((counts.trunk,), jnp.float32)},
        "features": {str(i): jax.ShapeDtypeStruct((H, D + 1), jnp.float32) for i in range(mlps)},
        "readout": {str(i): jax.ShapeDtypeStruct((H, E), jnp.float32) for i in range(mlps)},
    }
    kept = [
        jax.eval_shape(transform.init, shapes[group])
        for group, transform in rules.group_transforms(variant, SHORT).items()
    ]
    numbers = sum(leaf.size for leaf in jax.tree.leaves(kept))
    assert sizes.optimizer_numbers(model, SHORT, variant, H, V) == numbers


def test_at_infinite_width_the_counts_are_the_programs():
    program = InfiniteProgram(SMALL, SHORT, VARIANTS["adam_star"], 11)
    spec = _spec(VARIANTS["adam_star"], None, SMALL, SHORT, 11)
    assert infinite_step_flops(spec) == program.flops_per_step
    assert run_flops(spec)[0] == SHORT.steps * program.flops_per_step
    for steps in (1, 300, 1000):
        training = SHORT.model_copy(update={"steps": steps})
        N = SHORT.batch_size * SMALL.context
        fits = room.support_bytes(room.steps_with_room(steps, N), N, SMALL.d_model, SMALL.layers)
        assert sizes.support_bytes(SMALL, training) == fits


def test_scoring_costs_a_forward_pass_of_what_there_is_to_score():
    spec = _spec(VARIANTS["frozen"], 4, SMALL, SHORT, 11)
    D, T, L, V, H = 8, 16, 2, 11, 4
    products = L * (4 * D * D + H * (D + 1 + D)) + D * V
    forward = 2 * T * products + L * 2 * 2 * (T * (T + 1) // 2) * D
    assert run_flops(spec)[1] == 160 // T * forward
    assert run_flops(spec, {"validation": 80, "test": 9999})[1] == 80 // T * forward


def test_xla_counts_the_same_work_and_reports_the_memory_that_is_estimated():
    model = ModelSettings(d_model=128, layers=1, heads=2, context=32)
    training = TrainingSettings(
        batch_size=8, steps=2, warmup_steps=1, log_every=1, checkpoint_every=1
    )
    compiled = _lowered("adam_star", model, training).compile()
    acausal = 3 * 2 * 2 * 8 * (32 * 31 // 2) * 128
    ours = training_flops(model, VARIANTS["adam_star"], 256, 256, 8)
    # What is left is elementwise work.
    assert 1.0 < compiled.cost_analysis()["flops"] / (ours + acausal) < 1.03
    estimate = step_memory(model, training, VARIANTS["adam_star"], 256, 256, 8)
    held = compiled.memory_analysis().temp_size_in_bytes
    assert held == pytest.approx(estimate.total - estimate.state, rel=0.1)


@pytest.mark.parametrize("name", ["unfrozen", "ntk", "ntk_normalized", "adam_star", "constant"])
def test_xla_counts_the_same_work_for_each_treatment_of_the_features(name):
    model = ModelSettings(d_model=128, layers=1, heads=2, context=16)
    training = TrainingSettings(
        batch_size=8, steps=2, warmup_steps=1, log_every=1, checkpoint_every=1
    )
    acausal = 3 * 2 * 2 * 8 * (16 * 15 // 2) * 128
    ours = training_flops(model, VARIANTS[name], 256, 256, 8) + acausal
    assert 1.0 < _lowered(name, model, training).cost_analysis()["flops"] / ours < 1.04


def _lowered(name, model, training):
    program = compile_program(model, training, VARIANTS[name], 256, 256)
    rates = rules.Hyperparameters(*(jnp.float32(1) for _ in range(3)))
    tokens = np.zeros((1, training.batch_size, model.context + 1), np.int32)
    return jax.jit(program.train, donate_argnums=0).lower(program.init(0), rates, tokens)


def _spec(variant, width, model, training, vocabulary_size):
    return RunSpec(
        *("digest", vocabulary_size, model, training, variant.features, variant.readout, width),
        *(1.0, None, 0, ("validation",), "cpu"),
    )
