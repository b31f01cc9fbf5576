# SPDX-License-Identifier: Apache-2.0
"""Whole optimizers at infinite width: a rule, its learning rate, and weight decay if any."""

from infwidth.infinite.gradient import KernelTransformation, chain
from infwidth.infinite.moments import Number, SecondMoment
from infwidth.infinite.preconditioned import scale_by_eigenpro
from infwidth.infinite.readout import Readout
from infwidth.infinite.rules import (
    Schedule,
    decay_weights,
    scale_by_adam_star,
    scale_by_learning_rate,
    scale_by_rms_star,
    trace,
)
from infwidth.infinite.star_rules import (
    scale_by_adagrad_star,
    scale_by_muon_star,
    scale_by_nadam_star,
)


def sgd(
    learning_rate: Number | Schedule,
    momentum: Number | None = None,
    nesterov: bool = False,
    *,
    schedule: Schedule | None = None,
    weight_decay: Number = 0.0,
) -> KernelTransformation:
    """SGD, with momentum if given: the traditional NTK (docs/theory.md, equation (7)).

    Args:
      learning_rate: η, a number, or a function of the steps taken.
      momentum: as in `optax.sgd`; None is none.
      nesterov: Whether the momentum looks one step ahead.
      schedule: s_t, which the rate and the decay are multiplied by; None is 1.
      weight_decay: λ; coefficients are multiplied by 1 − s_t λ at every step.

    Returns:
      The transformation, to be used with `apply_updates`.
    """
    rule = () if momentum is None else (trace(momentum, nesterov),)
    return chain(*rule, *_end(learning_rate, schedule, weight_decay))


def adam_star(
    learning_rate: Number | Schedule,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    *,
    second_moment: SecondMoment = "per_output",
    bias_correction: bool = True,
    schedule: Schedule | None = None,
    weight_decay: Number = 0.0,
) -> KernelTransformation:
    """ADAM* at infinite width.

    Args:
      learning_rate: η, a number, or a function of the steps taken.
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      second_moment: `per_output`, `global` or `error`; see `scale_by_adam_star`.
      bias_correction: Whether both moments are divided by the sums of their weights.
      schedule: s_t, which the rate and the decay are multiplied by; None is 1.
      weight_decay: λ; coefficients are multiplied by 1 − s_t λ at every step. The finite alias
        follows optax and multiplies λ by the learning rate instead.

    Returns:
      The transformation, to be used with `apply_updates`.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.

    References:
      Sernau, arXiv 2406.18800, as reconstructed in docs/theory.md, equation (9).
    """
    rule = scale_by_adam_star(b1, b2, eps, second_moment, bias_correction)
    return chain(rule, *_end(learning_rate, schedule, weight_decay))


def rmsprop_star(
    learning_rate: Number | Schedule,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    *,
    momentum: Number | None = None,
    nesterov: bool = False,
    second_moment: SecondMoment = "per_output",
    bias_correction: bool = False,
    schedule: Schedule | None = None,
    weight_decay: Number = 0.0,
) -> KernelTransformation:
    """RMSprop* at infinite width: each gradient by its own shared size, then momentum if given.

    Args:
      learning_rate: η, a number, or a function of the steps taken.
      decay: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      momentum: applied after the rate, as in `optax.rmsprop`; None is none.
      nesterov: Whether the momentum looks one step ahead.
      second_moment: `per_output`, `global` or `error`; see `scale_by_adam_star`.
      bias_correction: Whether v is divided by the sum of its weights; not by default, as in
        `optax.rmsprop`.
      schedule: s_t, which the rate and the decay are multiplied by; None is 1.
      weight_decay: λ; coefficients are multiplied by 1 − s_t λ at every step.

    Returns:
      The transformation, to be used with `apply_updates`.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.
    """
    rate, *decays = _end(learning_rate, schedule, weight_decay)
    after = () if momentum is None else (trace(momentum, nesterov),)
    rule = scale_by_rms_star(decay, eps, second_moment, bias_correction)
    return chain(rule, rate, *after, *decays)


def nadam_star(
    learning_rate: Number | Schedule,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    *,
    second_moment: SecondMoment = "per_output",
    schedule: Schedule | None = None,
    weight_decay: Number = 0.0,
) -> KernelTransformation:
    """NAdam* at infinite width: ADAM* with Nesterov's look ahead.

    Args:
      learning_rate: η, a number, or a function of the steps taken.
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      second_moment: `per_output`, `global` or `error`; see `scale_by_adam_star`.
      schedule: s_t, which the rate and the decay are multiplied by; None is 1.
      weight_decay: λ; coefficients are multiplied by 1 − s_t λ at every step.

    Returns:
      The transformation, to be used with `apply_updates`.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.
    """
    rule = scale_by_nadam_star(b1, b2, eps, second_moment)
    return chain(rule, *_end(learning_rate, schedule, weight_decay))


def adagrad_star(
    learning_rate: Number | Schedule,
    eps: Number = 1e-8,
    *,
    second_moment: SecondMoment = "per_output",
    schedule: Schedule | None = None,
    weight_decay: Number = 0.0,
) -> KernelTransformation:
    """Adagrad* at infinite width: each gradient by the root of the sum of all shared squares.

    Args:
      learning_rate: η, a number, or a function of the steps taken.
      eps: Added to the root of the sum, which starts at 0.
      second_moment: `per_output`, `global` or `error`; see `scale_by_adam_star`.
      schedule: s_t, which the rate and the decay are multiplied by; None is 1.
      weight_decay: λ; coefficients are multiplied by 1 − s_t λ at every step.

    Returns:
      The transformation, to be used with `apply_updates`.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.
    """
    rule = scale_by_adagrad_star(eps, second_moment)
    return chain(rule, *_end(learning_rate, schedule, weight_decay))


def muon_star(
    learning_rate: Number | Schedule,
    b1: Number = 0.9,
    eps: Number = 1e-4,
    *,
    schedule: Schedule | None = None,
    weight_decay: Number = 0.0,
) -> KernelTransformation:
    """Muon on M at infinite width: the momentum's orthogonal factor.

    Args:
      learning_rate: η, a number, or a function of the steps taken.
      b1: Decay of the running mean of the gradient.
      eps: Share of the mean eigenvalue of aᵀΘa that is added to each.
      schedule: s_t, which the rate and the decay are multiplied by; None is 1.
      weight_decay: λ; coefficients are multiplied by 1 − s_t λ at every step.

    Returns:
      The transformation, to be used with `apply_updates`.
    """
    return chain(scale_by_muon_star(b1, eps), *_end(learning_rate, schedule, weight_decay))


def eigenpro(
    learning_rate: Number | Schedule,
    readout: Readout,
    components: int = 100,
    momentum: Number | None = None,
    nesterov: bool = False,
    *,
    subsample: int = 2000,
    seed: int = 0,
    schedule: Schedule | None = None,
    weight_decay: Number = 0.0,
) -> KernelTransformation:
    """SGD preconditioned by the kernel's largest eigenfunctions, after EigenPro.

    Args:
      learning_rate: η, a number, or a function of the steps taken; in a unit in which 1 is stable
        with half the mean squared error, and 2 with a softmax's cross-entropy.
      readout: the examples and their kernel.
      components: how many eigenfunctions.
      momentum: as in `optax.sgd`; None is none.
      nesterov: Whether the momentum looks one step ahead.
      subsample: how many examples the eigenfunctions are estimated from.
      seed: of the choice of these.
      schedule: s_t, which the rate and the decay are multiplied by; None is 1.
      weight_decay: λ; coefficients are multiplied by 1 − s_t λ at every step.

    Returns:
      The transformation, to be used with `apply_updates`.

    Raises:
      ValueError: as `scale_by_eigenpro`.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from infwidth import infinite
      >>> from infwidth.kernels import relu_kernel
      >>> x_NxD = jax.random.normal(jax.random.key(0), (256, 3))
      >>> readout = infinite.Readout(relu_kernel, x_NxD, outputs=1)
      >>> def loss(f_KxE, y_KxE):
      ...   return jnp.mean(jnp.square(f_KxE - y_KxE)) / 2
      >>> once_SxK = jnp.arange(256).reshape(16, 16)  # one epoch
      >>> y_NxE = jnp.abs(x_NxD[:, :1])
      >>> def after_it(solver):
      ...   state, _ = readout.train(solver, loss, y_NxE, once_SxK)
      ...   return loss(readout(state.coefficients_NxE), y_NxE)
      >>> after = after_it(infinite.eigenpro(1.0, readout, components=50))
      >>> bool(after < 0.1 * min(after_it(infinite.sgd(rate)) for rate in (0.3, 1.0, 3.0, 10.0)))
      True
    """
    rule = scale_by_eigenpro(readout, components, subsample=subsample, seed=seed)
    after = () if momentum is None else (trace(momentum, nesterov),)
    return chain(rule, *after, *_end(learning_rate, schedule, weight_decay))


def _end(
    learning_rate: Number | Schedule, schedule: Schedule | None, weight_decay: Number
) -> tuple[KernelTransformation, ...]:
    """The learning rate, and the decay if there is any."""
    rate = scale_by_learning_rate(learning_rate, schedule)
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return (rate,)
    return rate, decay_weights(weight_decay, schedule)
