# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.config.errors import UserError
from infwidth.config.section import NumericsSettings
from infwidth.models.attention import attend, chosen_implementation

BFLOAT16 = NumericsSettings(compute_dtype="bfloat16")
A100 = SimpleNamespace(
    platform="gpu", compute_capability="8.0", client=SimpleNamespace(platform_version="cuda 12")
)
V100 = SimpleNamespace(
    platform="gpu", compute_capability="7.0", client=SimpleNamespace(platform_version="cuda 12")
)
TPU = SimpleNamespace(platform="tpu", client=SimpleNamespace(platform_version="tpu"))


def _inputs():
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(key, (8, 24)) for key in keys]


def test_jax_and_our_own_attention_agree_with_their_gradients():
    *qkv, g = _inputs()
    for ours, jaxs in zip(*(_vjp(how, qkv, g, 4) for how in ("plain", "xla")), strict=True):
        np.testing.assert_allclose(jaxs, ours, rtol=1e-5, atol=1e-5)


def test_bfloat16_attention_agrees_to_its_rounding_and_returns_float32():
    *qkv, g = _inputs()
    plain = _vjp("plain", qkv, g, 2)
    # JAX cannot compile the gradient of its own attention where it promotes strictly.
    with jax.numpy_dtype_promotion("standard"):
        rounded = _vjp("xla", qkv, g, 2, jnp.bfloat16)
    for ours, jaxs in zip(plain, rounded, strict=True):
        assert jaxs.dtype == jnp.float32
        # Numbers of size 1 to 4, some ten roundings to 8 bits of each.
        np.testing.assert_allclose(jaxs, ours, atol=0.05)
        assert float(jnp.abs(jaxs - ours).max()) > 1e-4


def _vjp(how, qkv, g, heads, dtype=jnp.float32):
    @jax.jit
    def run(*qkv):
        mixed, pull = jax.vjp(lambda *x: attend(*x, heads, 6, how, dtype), *qkv)
        return mixed, *pull(g)

    return run(*qkv)


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
