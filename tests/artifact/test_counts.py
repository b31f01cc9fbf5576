# SPDX-License-Identifier: Apache-2.0
"""Counts from settings alone, against the arrays and programs that training makes."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from infwidth.artifact.planning import counts
from infwidth.artifact.planning.counts import (
    Model,
    loss_block,
    recomputed_flops,
    run_flops,
    sequences_at_once,
)
from infwidth.artifact.planning.runs import BYTE_VOCABULARY
from infwidth.config.section import MeshSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS, NO_MLPS, VARIANTS
from infwidth.data.vocabulary import ByteVocabulary
from infwidth.infinite import support
from infwidth.models import loss
from infwidth.models.features import mlp_maker
from infwidth.models.flops import training_flops
from infwidth.models.loss import block_size
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import merge, split
from infwidth.training import rules
from infwidth.training.infinite_step import InfiniteProgram
from infwidth.training.spec import RunSpec
from infwidth.training.step import compile_program

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
SMALL = ModelSettings(d_model=8, layers=2, heads=2, context=16)
SHORT = TrainingSettings(
    steps=8, warmup_steps=1, batch_size=4, evaluation_tokens=160, log_every=4, checkpoint_every=4
)
TWO_STEPS = TrainingSettings(batch_size=8, steps=2, warmup_steps=1, log_every=1, checkpoint_every=1)


def test_constants_that_stand_twice_agree():
    assert ByteVocabulary.size == BYTE_VOCABULARY
    assert counts.LOGITS_ON_CPU == loss.LOGITS_ON_CPU
    assert counts.LOGITS_ELSEWHERE == loss.LOGITS_ELSEWHERE


def test_sizes_and_flops_are_those_that_published_runs_recorded():
    table = pd.read_csv(PUBLISHED / "tables" / "table4_compute.csv")
    ran = json.loads((PUBLISHED / "measurements/lm_width/settings.json").read_text())
    model, training = ModelSettings(**ran["model"]), TrainingSettings(**ran["training"])
    assert len(table) > 15
    for row in table.itertuples():
        variant = ALL_VARIANTS[row.variant]
        counted = Model(model, training, variant, row.width, 258)
        wanted = (row.parameters_trunk, row.parameters_features, row.parameters_readout)
        assert counted.parameters == wanted
        assert counted.trained == row.parameters_trained
        assert counts.FLOAT * counted.optimizer_numbers == row.optimizer_state_bytes
        spec = _spec(variant, row.width, model, training, 258)
        assert run_flops(spec)[0] == row.flops_mean


@pytest.mark.parametrize("name", ALL_VARIANTS)
@pytest.mark.parametrize("target", ["residual", "vocabulary"])
def test_the_optimizer_keeps_as_much_as_is_counted(name, target):
    model = SMALL.model_copy(update={"readout_target": target})
    variant, H, V, D = ALL_VARIANTS[name], 5, 11, SMALL.d_model
    mlps, E = (1, V) if target == "vocabulary" else (SMALL.layers, D)
    counted = Model(model, SHORT, variant, H, V)
    shapes = {
        "trunk": {"all": jax.ShapeDtypeStruct((counted.parameters.trunk,), jnp.float32)},
        "features": {str(i): jax.ShapeDtypeStruct((H, D + 1), jnp.float32) for i in range(mlps)},
        "readout": {str(i): jax.ShapeDtypeStruct((H, E), jnp.float32) for i in range(mlps)},
    }
    kept = [
        jax.eval_shape(transform.init, shapes[group])
        for group, transform in rules.group_transforms(variant, SHORT).items()
    ]
    numbers = sum(leaf.size for leaf in jax.tree.leaves(kept))
    assert counted.optimizer_numbers == numbers


def test_at_infinite_width_the_counts_are_the_programs():
    program = InfiniteProgram(SMALL, SHORT, VARIANTS["adam_star"], 11)
    spec = _spec(VARIANTS["adam_star"], None, SMALL, SHORT, 11)
    N, D, trunk = 4 * 16, 8, training_flops(SMALL, NO_MLPS, 0, 11, 4)
    # A step's inputs meet all seen before, in D and d = D + 1 rows each: two products, then three.
    seen = sum(2 * N * (s * N) * ((D + D + 1) + (D + D + 1 + D + 1)) for s in range(8))
    own = 8 * 2 * N * N * (D + D + 1)
    assert run_flops(spec)[0] == 8 * program.flops_per_step == 8 * trunk + 2 * (seen + own)
    for steps in (1, 300, 1000):
        training = SHORT.model_copy(update={"steps": steps})
        N = SHORT.batch_size * SMALL.context
        fits = support.support_bytes(
            support.steps_with_room(steps, N), N, SMALL.d_model, SMALL.layers
        )
        assert counts.support_bytes(SMALL, training) == fits


def test_scoring_costs_a_forward_pass_of_what_there_is_to_score():
    spec = _spec(VARIANTS["frozen"], 4, SMALL, SHORT, 11)
    D, T, L, V, H = 8, 16, 2, 11, 4
    products = L * (4 * D * D + H * (D + 1 + D)) + D * V
    forward = 2 * T * products + L * 2 * 2 * (T * (T + 1) // 2) * D
    assert run_flops(spec)[1] == 160 // T * forward
    assert run_flops(spec, {"validation": 80, "test": 9999})[1] == 80 // T * forward


@pytest.mark.parametrize(
    ("compute_dtype", "attention"),
    [("float32", "plain"), ("float32", "xla"), ("bfloat16", "xla")],
)
def test_what_is_kept_for_the_backward_pass_is_what_the_derivative_keeps(compute_dtype, attention):
    numerics = {"compute_dtype": compute_dtype, "attention": attention}
    model = _deep(3, numerics)
    assert _estimate(model) == pytest.approx(_kept(model), rel=0.05)
    deeper = _deep(4, numerics)
    a_layer = _estimate(deeper) - _estimate(model)
    assert a_layer == pytest.approx(_kept(deeper) - _kept(model), rel=0.05)
    # The block that is computed again keeps as much for the time, which is no part of this.
    again = [_deep(layers, numerics | {"rematerialize": True}) for layers in (3, 4)]
    added = [_estimate(again[1]) - _estimate(again[0]), _kept(again[1]) - _kept(again[0])]
    assert added[0] == added[1] < a_layer / 10


def _deep(layers, numerics):
    shape = {"d_model": 64, "layers": layers, "heads": 4, "context": 96}
    return ModelSettings.model_validate(shape | {"numerics": numerics | {"loss_block": 32}})


def _estimate(model):
    return Model(model, SHORT, VARIANTS["unfrozen"], 320, 32).step_memory("cpu", 3).activations


def _kept(model):
    """Bytes of what the derivative keeps by token: 3 sequences of 96, H 320, V 32."""
    build = partial(Transformer, model, mlp_maker(model, "adam", 320), 32)
    structure, groups = split(build(rngs=nnx.Rngs(**random_streams(0))))

    def backward(groups, tokens):
        return jax.vjp(lambda some: merge(structure, some).mean_loss(tokens), groups)[1]

    tokens = jax.ShapeDtypeStruct((3, model.context + 1), jnp.int32)
    # JAX's own attention promotes bfloat16 by itself.
    with jax.numpy_dtype_promotion("standard"):
        leaves = jax.tree.leaves(jax.eval_shape(backward, groups, tokens))
    return sum(x.size * x.dtype.itemsize for x in leaves if x.size % (3 * model.context) == 0)


@pytest.mark.parametrize(
    ("mesh", "parts"), [({"data": 4}, 1), ({"fsdp": 4}, 4), ({"width": 4}, 4), ({}, 1)]
)
def test_a_device_holds_the_share_that_its_mesh_gives_it(mesh, parts):
    training = SHORT.model_copy(update={"mesh": MeshSettings(**mesh)})
    # So wide that what lies outside the MLPs hardly counts.
    shared, whole = (
        Model(SMALL, each, VARIANTS["unfrozen"], 2**16, 32).step_memory("gpu", 1)
        for each in (training, SHORT)
    )
    assert shared.state * parts == pytest.approx(whole.state, rel=0.02)
    split_along_width = mesh.get("width", 1)
    assert shared.activations * split_along_width == pytest.approx(whole.activations, rel=0.02)


def test_what_goes_through_at_once_is_what_training_takes():
    assert sequences_at_once(SMALL, SHORT, "cpu") == 4
    halves = SHORT.model_copy(update={"microbatch_tokens": 40})
    assert sequences_at_once(SMALL, halves, "gpu") == 2
    long = SMALL.model_copy(update={"context": 512})
    assert sequences_at_once(long, SHORT, "cpu") == 1
    assert sequences_at_once(long, SHORT, "tpu") == 4
    split_up = SHORT.model_copy(update={"mesh": MeshSettings(data=2)})
    assert sequences_at_once(long, split_up, "tpu") == 2
    for tokens in (16, 2**18, 2**22):
        assert loss_block(SMALL, tokens, 64, "cpu") == (block_size(None, tokens, 64) or tokens)


@pytest.mark.parametrize("name", ["unfrozen", "ntk", "ntk_normalized", "adam_star", "constant"])
def test_xla_counts_the_same_work_and_reports_the_memory_that_is_estimated(name):
    model = ModelSettings(d_model=128, layers=1, heads=2, context=32)
    lowered = _lowered(name, model, TWO_STEPS)
    acausal = 3 * 2 * 2 * 8 * (32 * 31 // 2) * 128
    ours = training_flops(model, VARIANTS[name], 256, 256, 8) + acausal
    # What is left is elementwise work.
    assert 1.0 < lowered.cost_analysis()["flops"] / ours < 1.04
    if name == "adam_star":
        compiled = lowered.compile()
        assert 1.0 < compiled.cost_analysis()["flops"] / ours < 1.03
        estimate = Model(model, TWO_STEPS, VARIANTS[name], 256, 256).step_memory("cpu", 8)
        held = compiled.memory_analysis().temp_size_in_bytes
        assert held == pytest.approx(estimate.total - estimate.state, rel=0.1)


@pytest.mark.parametrize("name", ["unfrozen", "adam_star_normalized", "constant"])
@pytest.mark.parametrize("target", ["residual", "vocabulary"])
def test_xla_counts_the_same_work_twice_where_blocks_are_rematerialized(name, target):
    shape = {"d_model": 128, "layers": 2, "heads": 2, "context": 16, "readout_target": target}
    once, again = (
        ModelSettings.model_validate(shape | {"numerics": {"rematerialize": remat}})
        for remat in (False, True)
    )
    counted = [_lowered(name, model, TWO_STEPS).cost_analysis()["flops"] for model in (once, again)]
    acausal = 2 * 2 * 2 * 8 * (16 * 15 // 2) * 128
    ours = recomputed_flops(again, VARIANTS[name], 256, 8)
    assert 1.0 < (counted[1] - counted[0]) / (ours + acausal) < 1.03
    spec, twice = (_spec(VARIANTS[name], 256, model, TWO_STEPS, 256) for model in (once, again))
    assert run_flops(twice)[0] - run_flops(spec)[0] == TWO_STEPS.steps * ours
    assert run_flops(twice)[1] == run_flops(spec)[1]


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
