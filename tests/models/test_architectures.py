# SPDX-License-Identifier: Apache-2.0
"""MLP, CNN and RNN against plain NumPy in float64, image by image.

Shapes: P = 64 pixels, D dimension, E classes, N images, H width.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infwidth.models.architectures import ConvNet, RecurrentNet, ResidualMLP, layer_maker
from infwidth.models.transformer import random_streams
from infwidth.models.variables import merge, split

P, D, E, N, H = 64, 5, 3, 4, 6
KINDS = {"mlp": ResidualMLP, "cnn": ConvNet, "rnn": RecurrentNet}


def model(kind, features="fixed", width=H, seed=0):
    make_layer = layer_maker(features, width)
    return KINDS[kind](P, D, E, make_layer, rngs=nnx.Rngs(**random_streams(seed)))


IMAGES = np.random.default_rng(5).normal(size=(P, N)).astype(np.float32)


def moved(kind):
    """A model whose every parameter is away from where it starts, and those parameters."""
    structure, groups = split(model(kind))
    rng = np.random.default_rng(1)
    groups = jax.tree.map(lambda x: np.asarray(x) + rng.normal(size=x.shape).astype("f"), groups)
    named = {name: np.asarray(x, np.float64) for group in groups for name, x in group.items()}
    return merge(structure, groups), named


def norm(x, scale):
    x = x - x.mean()
    return x / np.sqrt(np.square(x).mean() + 1e-6) * scale


def wide(x, of):
    omega, m = of["layer/omega_Hxd"], of["layer/m_HxE"]
    features = omega @ np.append(x, math.sqrt(len(x)) / 2) / math.sqrt(len(x) + 1)
    return np.maximum(features, 0) @ m / len(m)


def plain_mlp(x, of):
    y = of["embedding_DxP"] @ x
    y = y + wide(norm(y, of["layer_norm/scale_D"]), of)
    return of["head_ExD"] @ norm(y, of["norm/scale_D"])


def plain_rnn(x, of):
    h = of["start_D"]
    for row in x.reshape(8, 8):
        h = h + of["embedding_DxR"] @ row
        h = h + wide(norm(h, of["layer_norm/scale_D"]), of)
    return of["head_ExD"] @ norm(h, of["norm/scale_D"])


def plain_cnn(x, of):
    image = x.reshape(8, 8)
    seen = np.array(
        [
            [
                of["embedding_Cx4"] @ image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel()
                for j in range(4)
            ]
            for i in range(4)
        ]
    )
    quarters = np.zeros((D, 2, 2))
    for i in range(4):
        for j in range(4):
            patch = [
                norm(seen[np.clip(i + a, 0, 3), np.clip(j + b, 0, 3)], of["layer_norm/scale_D"])
                for a in (-1, 0, 1)
                for b in (-1, 0, 1)
            ]
            y = seen[i, j] + wide(np.concatenate(patch), of)
            quarters[:, i // 2, j // 2] += norm(y, of["norm/scale_D"]) / 4
    return of["head_Ex4C"] @ quarters.ravel()


@jax.jit
def _logits(trained):
    return trained(jnp.asarray(IMAGES))


def logits(trained):
    return np.asarray(_logits(trained))


PLAIN = {"mlp": plain_mlp, "cnn": plain_cnn, "rnn": plain_rnn}


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_formula(kind):
    trained, of = moved(kind)
    expected_ExN = np.stack([PLAIN[kind](x, of) for x in np.asarray(IMAGES, np.float64).T], axis=1)
    np.testing.assert_allclose(logits(trained), expected_ExN, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_groups_hold_what_they_should(kind):
    _, groups = split(model(kind))
    inputs = 9 * D if kind == "cnn" else D
    assert {name: x.shape for name, x in groups.features.items()} == {
        "layer/omega_Hxd": (H, inputs + 1)
    }
    assert {name: x.shape for name, x in groups.readout.items()} == {"layer/m_HxE": (H, D)}
    assert model(kind).feature_inputs == inputs
    trunk = split(model(kind, "none"))[1]
    assert (trunk.features, trunk.readout) == ({}, {})
    assert set(groups.trunk) == {*trunk.trunk, "layer_norm/scale_D"}


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_start_it_is_the_model_without_the_wide_layer(kind):
    # Also at any other width, normalized or not: the trunk is the same, and M = 0.
    expected = logits(model(kind, "none"))
    assert np.std(expected) > 0.1
    for features, width in (("fixed", H), ("normalized", 3)):
        np.testing.assert_array_equal(logits(model(kind, features, width)), expected)
    assert not np.allclose(logits(model(kind, "none", seed=1)), expected)


def test_every_patch_has_mean_square_one_at_the_start():
    # What the scale of normalized features assumes of a layer's inputs, at the borders, too.
    net, seen = model("cnn"), []
    net.layer = lambda patch_IxN: seen.append(patch_IxN) or jnp.zeros((D, patch_IxN.shape[1]))
    net(jnp.asarray(IMAGES))
    np.testing.assert_allclose(jnp.mean(jnp.square(seen[0]), axis=0), 1, rtol=1e-4)


def test_sizes_that_do_not_fit_are_refused():
    none, rngs = layer_maker("none", 1), nnx.Rngs(**random_streams(0))
    with pytest.raises(ValueError, match="multiple of 4"):
        ConvNet(36, D, E, none, rngs=rngs)
    with pytest.raises(ValueError, match="rows of 7"):
        RecurrentNet(P, D, E, none, row=7, rngs=rngs)
    with pytest.raises(ValueError, match="features must be one of"):
        layer_maker("melted", 1)
