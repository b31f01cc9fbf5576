# SPDX-License-Identifier: Apache-2.0
"""The mean-field MLP: an average of H random features, read out by M.

Shapes: N inputs (B·T tokens), D input and E output dimension, d = D + 1, H width.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings
from infwidth.config.variants import Features as FeatureTreatment
from infwidth.models.fast_ops import Compute, product
from infwidth.models.tap import tapped
from infwidth.models.variables import Features, Readout

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "gelu": partial(jax.nn.gelu, approximate=False),
}

BIAS_SHIFT = -0.41
"""Mean of ω_b where biases are shifted: plain features that are nearly as the normalized ones."""


def feature_bias(d_model: int, bias: float | None) -> float:
    """The constant b that is appended to every feature's input; √D/2 unless it is set."""
    return math.sqrt(d_model) / 2 if bias is None else bias


@partial(jax.jit, static_argnums=(1, 2))
def draw_features(key: jax.Array, width: int, d: int) -> jax.Array:
    """Draws ω_1 … ω_H ~ N(0, I_d), each row from a key of its own.

    Args:
      key: the layer's key.
      width: H, the number of features.
      d: the dimension of a feature's input, the bias included.

    Returns:
      omega_Hxd; the first H rows of a wider draw from the same key are the same numbers.
    """
    keys_H = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(width))
    return jax.vmap(lambda row_key: jax.random.normal(row_key, (d,)))(keys_H)


class FeatureMLP(nnx.Module):
    """f(x) = (1/H) Σ_h M_h relu(ω_h·x̃/√d), x̃ = (x, b), d = D + 1, or with gelu for relu.

    See equation (1) of docs/theory.md. The readout M starts at 0, so that f is 0 at every width,
    as in the limit; or at N(0, 1), where f's size at the start falls as H^−½; or at √H N(0, 1),
    where it does not depend on H, as in the NTK parametrization.
    """

    def __init__(
        self,
        d_model: int,
        width: int,
        *,
        bias: float | None = None,
        outputs: int | None = None,
        readout_init: Literal["zeros", "normal", "ntk"] = "zeros",
        normalized: bool = False,
        bias_shift: float = 0.0,
        activation: Literal["relu", "gelu"] = "relu",
        has_tap: bool = False,
        compute: Compute = "float32",
        rngs: nnx.Rngs,
    ):
        """Draws the features from the stream `features`, M (unless it is 0) from `readout`.

        Args:
          d_model: D.
          width: H.
          bias: b; None means √D/2.
          outputs: E; None means D.
          readout_init: M at the start: 0, N(0, 1) or √H N(0, 1).
          normalized: divide feature h by s(ω_h) (docs/theory.md, normalized features). A ReLU
            is positively homogeneous, so this scales ω_h once and costs nothing afterwards.
          bias_shift: mean of the bias coordinate ω_b, whose variance is 1.
          activation: of the features.
          has_tap: whether there is a leaf `tap_E` whose gradient is Σ_i δ_ie² (`tapped`).
          compute: type of the factors of the two products.
          rngs: streams named `features` and `readout`.
        """
        self.bias = feature_bias(d_model, bias)
        self.activation = activation
        self.has_tap = has_tap
        self.compute: Compute = compute
        omega_Hxd = draw_features(rngs.features(), width, d_model + 1)
        if bias_shift:
            omega_Hxd = omega_Hxd.at[:, -1].add(bias_shift)
        if normalized:
            from infwidth.models.normalization import feature_scale

            s_H = feature_scale(omega_Hxd[:, -1], d_model, self.bias)
            omega_Hxd = omega_Hxd / jnp.asarray(s_H, jnp.float32)[:, None]
        key = rngs.readout()
        self.omega_Hxd = Features(omega_Hxd)
        shape = (width, d_model if outputs is None else outputs)
        size = {"zeros": 0.0, "normal": 1.0, "ntk": math.sqrt(width)}[readout_init]
        self.m_HxE = Readout(size * jax.random.normal(key, shape) if size else jnp.zeros(shape))
        if has_tap:
            self.tap_E = Readout(jnp.zeros(shape[1]))

    def __call__(self, x_DxN: jax.Array) -> jax.Array:
        """Applies the layer to each column of x_DxN."""
        H = self.omega_Hxd.shape[0]
        f_ExN = product(self.m_HxE[...].T * (1 / H), self.features(x_DxN), self.compute)
        return tapped(f_ExN, self.tap_E[...]) if self.has_tap else f_ExN

    def features(self, x_DxN: jax.Array) -> jax.Array:
        """The features g_HxN of each column of x_DxN."""
        omega_Hxd = self.omega_Hxd[...]
        scaled_Hxd = omega_Hxd * (1 / math.sqrt(omega_Hxd.shape[1]))
        bias_H = scaled_Hxd[:, -1] * self.bias
        z_HxN = product(scaled_Hxd[:, :-1], x_DxN, self.compute) + bias_H[:, None]
        return ACTIVATIONS[self.activation](z_HxN)


def mlp_maker(
    settings: ModelSettings,
    features: FeatureTreatment,
    width: int,
    outputs: int | None = None,
    has_tap: bool = False,
) -> Callable[[nnx.Rngs], FeatureMLP] | None:
    """Says how a transformer makes its MLPs of finite width.

    Args:
      settings: shape of the model.
      features: how the features are treated; `none` leaves the MLPs out.
      width: H.
      outputs: E; None means D.
      has_tap: as in `FeatureMLP`.

    Returns:
      A function from the random streams to the layer, or None.

    Raises:
      ValueError: no such treatment.
      UserError: the treatment is of ReLU features, and these are others.
    """
    if features not in get_args(FeatureTreatment):
        raise ValueError(f"features must be one of {get_args(FeatureTreatment)}: {features}")
    if features == "none":
        return None
    if features in ("normalized", "shifted") and settings.activation != "relu":
        raise UserError(
            f"{features} features are of ReLU: set model.activation to relu, or take the variants "
            f"with {features} features out"
        )
    return lambda rngs: FeatureMLP(
        settings.d_model,
        width,
        bias=settings.feature_bias,
        outputs=outputs,
        readout_init=settings.readout_init,
        normalized=features == "normalized",
        bias_shift=BIAS_SHIFT if features == "shifted" else 0.0,
        activation=settings.activation,
        has_tap=has_tap,
        compute=settings.numerics.compute_dtype,
        rngs=rngs,
    )
