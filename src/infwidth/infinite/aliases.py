"""Whole optimizers at infinite width: a rule, its learning rate, and weight decay if any."""

from infwidth.infinite.gradient import KernelTransformation, chain
from infwidth.infinite.rules import (
    Number,
    Schedule,
    SecondMoment,
    decay_weights,
    scale_by_adam_star,
    scale_by_learning_rate,
    scale_by_rms_star,
    trace,
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
      schedule: s_t, which the rate and the decay are multiplied by; None is 1.
      weight_decay: λ; coefficients are multiplied by 1 − s_t λ at every step. The finite alias
        follows optax and multiplies λ by the learning rate instead.

    Returns:
      The transformation, to be used with `apply_updates`.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.

    Reference:
      Sernau, arXiv 2406.18800, as reconstructed in docs/theory.md, equation (9).
    """
    rule = scale_by_adam_star(b1, b2, eps, second_moment)
    return chain(rule, *_end(learning_rate, schedule, weight_decay))


def rmsprop_star(
    learning_rate: Number | Schedule,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    *,
    momentum: Number | None = None,
    nesterov: bool = False,
    second_moment: SecondMoment = "per_output",
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
      schedule: s_t, which the rate and the decay are multiplied by; None is 1.
      weight_decay: λ; coefficients are multiplied by 1 − s_t λ at every step.

    Returns:
      The transformation, to be used with `apply_updates`.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.
    """
    rate, *decays = _end(learning_rate, schedule, weight_decay)
    after = () if momentum is None else (trace(momentum, nesterov),)
    return chain(scale_by_rms_star(decay, eps, second_moment), rate, *after, *decays)


def _end(
    learning_rate: Number | Schedule, schedule: Schedule | None, weight_decay: Number
) -> tuple[KernelTransformation, ...]:
    """The learning rate, and the decay if there is any."""
    rate = scale_by_learning_rate(learning_rate, schedule)
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return (rate,)
    return rate, decay_weights(weight_decay, schedule)
