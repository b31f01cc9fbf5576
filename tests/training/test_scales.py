# SPDX-License-Identifier: Apache-2.0
"""Measured scales in the transformer: what they are measured on, and what they do.

Shapes: D residual stream, H width, E outputs, N tokens.
"""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth.config.section import MeasuredScalesSettings
from infwidth.config.settings import ModelSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.data.batches import Batches
from infwidth.training import execute
from infwidth.training.rules import sgd_unit
from infwidth.training.step import compile_program
from tests.training.conftest import (
    PLACE,
    TRAINING,
    Stop,
    forty_steps,
    numbers,
    rates,
    replace_mlps,
    stop_at,
)

V, H, T, SEED = 16, 12, 6, 3
TEXT = SimpleNamespace(name="train", tokens=np.random.default_rng(0).integers(V, size=400))
RATES = rates(readout=0.3)
PLAIN = {"ntk_measured": "ntk", "adam_star_measured": "adam_star"}


def program(variant="ntk_measured", model=None, **words):
    model = ModelSettings(d_model=8, layers=2, heads=2, context=T, **(model or {}))
    scales = MeasuredScalesSettings(**{"batches": 3, **words})
    training = forty_steps(warmup_steps=0, scales=scales)
    return compile_program(model, training, ALL_VARIANTS[variant], H, V), training


def batches(seed=SEED):
    return Batches(TEXT, T, 4, seed)


def measured(here, training):
    spec = SimpleNamespace(training=training, seed=SEED)
    return execute.with_measured_scales(spec, here, here.init(SEED), batches())


def r_of(state):
    return jax.tree.map(np.asarray, optax.tree.get(state.optimizer["readout"], "mean_square"))


def gradient_squares(here, state, stream, count=3):
    found = [here.functional_gradients(state, stream.at(step)) for step in range(count)]
    return {
        name: np.mean([np.square(g[name]) for g in found], axis=(0, 2)) for name in state.readout
    }


def close(found, expected, rtol=1e-5):
    assert found.keys() == expected.keys()
    for name, r_H in expected.items():
        assert np.ptp(r_H) > 0.1 * np.mean(r_H)
        np.testing.assert_allclose(found[name], r_H, rtol=rtol)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("target", ["residual", "vocabulary"])
def test_a_run_is_one_on_features_divided_by_their_scales(name, target):
    here, training = program(name, {"readout_target": target})
    state = measured(here, training)
    plain, _ = program(PLAIN[name], {"readout_target": target})
    other = plain.init(SEED)
    r = gradient_squares(plain, other, batches())
    close(r_of(state), r)
    # A ReLU is positively homogeneous.
    omega = {
        path: omega_Hxd / np.maximum(r_H / r_H.mean(), 1e-6)[:, None] ** 0.25
        for (path, omega_Hxd), r_H in zip(other.features.items(), r.values(), strict=True)
    }
    other = other._replace(features=jax.tree.map(lambda x: x.astype(jnp.float32), omega))
    tokens = batches().chunk(0, 10)
    peaks = RATES
    if name == "ntk_measured":
        unit = sgd_unit(plain.functional_gradients(other, tokens[0]))
        peaks = RATES._replace(readout=RATES.readout * unit)
    _, found = here.train(state, peaks, tokens)
    _, expected = plain.train(other, peaks, tokens)
    _, unscaled = plain.train(plain.init(SEED), peaks, tokens)
    # Ten steps of float32 in another order of operations.
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=2e-5)
    assert np.max(np.abs(unscaled["loss"] - expected["loss"])) > 1e-3


def test_scales_do_not_depend_on_how_the_readout_was_drawn():
    drawn, zero = (program(model={"readout_init": init}) for init in ("normal", "zeros"))
    start = drawn[0].init(SEED)
    state = measured(*drawn)
    jax.tree.map(np.testing.assert_array_equal, r_of(state), r_of(measured(*zero)))
    jax.tree.map(np.testing.assert_array_equal, state.readout, start.readout)
    assert int(state.step) == 0


@pytest.mark.parametrize("target", ["residual", "vocabulary"])
def test_of_activations_they_are_the_mean_squares_of_the_features(target):
    here, training = program(model={"readout_target": target}, source="activation")
    state, stream = measured(here, training), batches()
    squares = {name: [] for name in state.readout}

    def spy(path, layer, x_DxN):
        omega_Hxd = np.asarray(layer.omega_Hxd[...]) / np.sqrt(9)
        z_HxN = omega_Hxd[:, :-1] @ x_DxN + omega_Hxd[:, -1:] * layer.bias
        squares[f"{path}/m_HxE"].append(np.square(np.maximum(z_HxN, 0)))
        return layer(x_DxN)

    model = here.model(here.init(SEED))
    replace_mlps(model, lambda path, layer: partial(spy, path, layer))
    for step in range(3):
        model(stream.at(step)[:, :-1])
    close(r_of(state), {name: np.mean(all_, axis=(0, 2)) for name, all_ in squares.items()})


def test_permuted_they_are_those_of_other_features():
    own, permuted = (r_of(measured(*program(permuted=yes))) for yes in (False, True))
    for name, r_H in own.items():
        np.testing.assert_array_equal(np.sort(permuted[name]), np.sort(r_H))
        assert np.mean(permuted[name] == r_H) < 0.5


def test_on_another_stream_all_but_the_features_is_another_seeds():
    here, training = program(stream="other")
    state, own = measured(here, training), here.init(SEED)
    seed = SEED + execute.OTHER_SEED
    strange = here.init(seed)
    close(
        r_of(state), gradient_squares(here, strange._replace(features=own.features), batches(seed))
    )
    jax.tree.map(np.testing.assert_array_equal, state[:4], own[:4])
    assert not np.allclose(*(next(iter(r_of(s).values())) for s in (state, measured(*program()))))


def test_scales_that_are_measured_in_training_are_not_measured_before():
    here, training = program(hold_after=5)
    state, g = measured(here, training), []
    jax.tree.map(np.testing.assert_array_equal, state, here.init(SEED))
    for batch in batches().chunk(0, 10):
        g.append(here.functional_gradients(state, batch))
        state, _ = here.train(state, RATES, batch[None])
    g = g[:5]
    r = {name: np.mean([np.square(x[name]) for x in g], axis=(0, 2)) for name in g[0]}
    close(r_of(state), r, rtol=1e-4)


@pytest.mark.parametrize(
    "words", [{"batches": 2}, {"hold_after": 7}], ids=["before", "in training"]
)
def test_a_run_is_measured_once_and_goes_on_with_the_same_bits(bench, monkeypatch, words):
    training = TRAINING.model_copy(update={"scales": MeasuredScalesSettings(**words)})
    place = PLACE._replace(variant="adam_star_measured")
    calls, measure = [], execute.with_measured_scales
    monkeypatch.setattr(
        execute, "with_measured_scales", lambda *all_: calls.append(1) or measure(*all_)
    )
    whole = bench(training, folder="whole")
    whole.run(place)
    with pytest.raises(Stop):
        bench(training, report=stop_at(15), folder="stopped").run(place)
    resumed = bench(training, folder="stopped")
    resumed.run(place)
    assert numbers(resumed.folder_of(place)) == numbers(whole.folder_of(place))
    assert len(calls) == 2


def test_the_scales_settings_are_in_the_keys_of_runs_that_have_scales_alone(bench):
    others = TRAINING.model_copy(update={"scales": MeasuredScalesSettings(power=0.5)})
    of_measured = PLACE._replace(variant="ntk_measured")
    assert bench(others).spec(PLACE).key == bench().spec(PLACE).key
    assert bench(others).spec(of_measured).key != bench().spec(of_measured).key


@pytest.mark.parametrize("control", [{"permuted": True}, {"stream": "other"}])
@pytest.mark.parametrize("hold_after", [10, None])
def test_controls_are_of_scales_measured_before_training(control, hold_after):
    (name,) = control
    with pytest.raises(ValueError, match=rf"{name} .* set hold_after to 0"):
        MeasuredScalesSettings(hold_after=hold_after, **control)
