# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.config.errors import UserError
from infwidth.config.section import NumericsSettings
from infwidth.models.attention import attend, causal_attention, chosen_implementation

BFLOAT16 = NumericsSettings(compute_dtype="bfloat16")
CUDA = SimpleNamespace(platform_version="cuda 12")
A100 = SimpleNamespace(platform="gpu", compute_capability="8.0", client=CUDA)
V100 = SimpleNamespace(platform="gpu", compute_capability="7.0", client=CUDA)
TPU = SimpleNamespace(platform="tpu", client=SimpleNamespace(platform_version="tpu"))


def _inputs(N=24):
    return [jax.random.normal(key, (8, N)) for key in jax.random.split(jax.random.key(0), 4)]


def _with_gradients(attention, qkv, g):
    mixed, pull = jax.vjp(attention, *qkv)
    return mixed, *pull(g)


def _by(how, heads, dtype=jnp.float32):
    *qkv, g = _inputs()
    run = jax.jit(lambda *x: _with_gradients(lambda *y: attend(*y, heads, 6, how, dtype), x[:3], g))
    return run(*qkv)


def _plain(q_DxN, k_DxN, v_DxN, heads, T):
    D, N = q_DxN.shape
    q, k, v = (x.reshape(heads, D // heads, N // T, T) for x in (q_DxN, k_DxN, v_DxN))
    scores = jnp.einsum("kcbq,kcbs->kbqs", q, k)
    visible = jnp.tril(jnp.ones((1, 1, T, T), bool))
    weights = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf))
    return jnp.einsum("kbqs,kcbs->kcbq", weights, v).reshape(D, N)


@pytest.mark.parametrize(("heads", "T"), [(1, 8), (2, 4), (4, 1)])
def test_attention_and_its_gradients_equal_the_plain_form(heads, T):
    q, k, v, g = _inputs(16)
    ours, plain = (
        _with_gradients(lambda *x, form=form: form(*x, heads, T), (3 * q, k, v), g)
        for form in (causal_attention, _plain)
    )
    for found, expected in zip(ours, plain, strict=True):
        # float32 rounding of sums of at most 16 terms of size 1 to 10.
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_attention_stands_scores_that_overflow_exp():
    q, k, v, g = _inputs(16)
    found = _with_gradients(lambda *x: causal_attention(*x, 2, 8), (1e3 * q, k, v), g)
    assert all(jnp.isfinite(x).all() for x in found)


def test_jax_and_our_own_attention_agree_with_their_gradients():
    for ours, jaxs in zip(_by("plain", 4), _by("xla", 4), strict=True):
        np.testing.assert_allclose(jaxs, ours, rtol=1e-5, atol=1e-5)


def test_bfloat16_attention_agrees_to_its_rounding_and_returns_float32():
    # JAX cannot compile the gradient of its own attention where it promotes strictly.
    with jax.numpy_dtype_promotion("standard"):
        rounded = _by("xla", 2, jnp.bfloat16)
    for ours, jaxs in zip(_by("plain", 2), rounded, strict=True):
        assert jaxs.dtype == jnp.float32
        # Numbers of size 1 to 4, some ten roundings to 8 bits of each.
        np.testing.assert_allclose(jaxs, ours, atol=0.05)
        assert float(jnp.abs(jaxs - ours).max()) > 1e-4


@pytest.mark.parametrize(
    ("device", "numerics", "C", "expected"),
    [
        (None, NumericsSettings(), 64, "plain"),
        (None, BFLOAT16, 64, "xla"),
        (A100, NumericsSettings(), 64, "xla"),
        (A100, BFLOAT16, 64, "cudnn"),
        (A100, BFLOAT16, 20, "xla"),
        (A100, BFLOAT16, 256, "xla"),
        (V100, BFLOAT16, 64, "xla"),
        (TPU, BFLOAT16, 64, "xla"),
        (A100, NumericsSettings(attention="plain"), 64, "plain"),
    ],
)
def test_each_device_and_type_has_its_implementation(monkeypatch, device, numerics, C, expected):
    if device is not None:
        monkeypatch.setattr(jax, "devices", lambda: [device])
        monkeypatch.setattr(jax, "default_backend", lambda: device.platform)
    assert chosen_implementation(numerics, C) == expected


def test_cudnn_where_it_cannot_is_refused_in_one_line():
    numerics = NumericsSettings(compute_dtype="bfloat16", attention="cudnn")
    with pytest.raises(UserError, match=r"model\.numerics\.attention.*set 'auto'"):
        chosen_implementation(numerics, 64)


@pytest.mark.parametrize(
    "values", [{"attention": "plain", "compute_dtype": "bfloat16"}, {"attention": "cudnn"}]
)
def test_implementations_that_do_not_know_the_type_are_refused(values):
    with pytest.raises(ValueError, match="needs compute_dtype"):
        NumericsSettings(**values)
