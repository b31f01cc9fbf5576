# SPDX-License-Identifier: Apache-2.0
"""Functional gradients: neither they nor their norm know the width."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth import infinite, optim
from infwidth.optim import clip_by_functional_norm, scale_by_width


def stateless(transform, gradients):
    return transform.update(gradients, transform.init(gradients))[0]


def test_each_leaf_is_multiplied_by_its_own_width():
    gradients = {"a": jnp.ones((8, 3)), "b": jnp.ones((2, 5))}
    scaled = stateless(scale_by_width({"a": 0, "b": 1}), gradients)
    np.testing.assert_array_equal(scaled["a"], np.full((8, 3), 8.0))
    np.testing.assert_array_equal(scaled["b"], np.full((2, 5), 5.0))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_norm_is_a_mean_over_the_width_and_a_sum_over_the_rest(axis):
    g = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    norm = np.sqrt(np.mean(np.sum(np.moveaxis(g, axis, 0) ** 2, axis=(1, 2), dtype=np.float64)))
    clipped = stateless(clip_by_functional_norm(0.25 * norm, axis), jnp.asarray(g))
    # One root, one quotient and one product in float32.
    np.testing.assert_allclose(clipped, 0.25 * g, rtol=1e-6)


def test_a_gradient_within_the_bound_is_left_alone_to_the_bit():
    g = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    norm = np.sqrt(np.mean(np.sum(g**2, axis=1)))
    clipped = stateless(clip_by_functional_norm(1.001 * norm), jnp.asarray(g))
    np.testing.assert_array_equal(clipped, g)


def test_layers_are_clipped_one_by_one():
    gradients = {"large": jnp.full((4, 1), 10.0), "small": jnp.full((4, 1), 0.1)}
    clipped = stateless(clip_by_functional_norm(1.0), gradients)
    np.testing.assert_allclose(clipped["large"], np.ones((4, 1)), rtol=1e-6)
    np.testing.assert_array_equal(clipped["small"], gradients["small"])


def test_no_gradient_is_no_step():
    clipped = stateless(clip_by_functional_norm(1.0), jnp.zeros((4, 3)))
    np.testing.assert_array_equal(clipped, np.zeros((4, 3)))


@pytest.mark.parametrize("max_norm", [0.01, 1e6])
def test_a_mean_field_model_has_one_functional_gradient_at_every_width(max_norm):
    features_NxH = jax.random.normal(jax.random.key(0), (5, 16))
    functional = optax.chain(scale_by_width(), clip_by_functional_norm(max_norm))

    def functional_gradient(features_NxH):
        def loss(readout_HxE):
            f_NxE = features_NxH @ readout_HxE / features_NxH.shape[1]
            return jnp.sum(jnp.square(f_NxE - 1.0))

        return stateless(functional, jax.grad(loss)(jnp.zeros((features_NxH.shape[1], 2))))

    narrow_HxE = functional_gradient(features_NxH)
    wide_HxE = functional_gradient(jnp.tile(features_NxH, (1, 1024)))
    # H = 16 and 16,384; the norms sum 16,384 terms in another order.
    np.testing.assert_allclose(wide_HxE, np.tile(narrow_HxE, (1024, 1)), rtol=1e-5)


@pytest.mark.parametrize("library", [infinite, optim])
@pytest.mark.parametrize("bound", [-1, 0.0, math.nan, np.float32(-1)])
def test_a_bound_that_is_none_is_refused_at_both_widths(library, bound):
    with pytest.raises(ValueError, match=f"^max_norm must be positive; got {bound}$"):
        library.clip_by_functional_norm(bound)


@pytest.mark.parametrize("transform", [scale_by_width(1), clip_by_functional_norm(1.0, 1)])
def test_an_axis_out_of_range_is_one_clear_line(transform):
    with pytest.raises(ValueError, match=r"width_axis 1 is out of range .* \(4,\)"):
        stateless(transform, jnp.ones(4))
