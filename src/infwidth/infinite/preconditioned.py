# SPDX-License-Identifier: Apache-2.0
"""Preconditioned SGD after EigenPro, which shrinks the gradient where it limits the rate.

SGD is stable up to a rate of 2 over the kernel's largest eigenvalue, and along an eigenfunction
whose eigenvalue is a thousandth of it learning takes a thousand times as long. EigenPro shrinks the
gradient along the Q largest eigenfunctions to the size of the next one, so that the rate may grow.

Shapes: N examples in the data set, S of them in a subsample, K in a batch, Q eigenfunctions, E
outputs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from infwidth.infinite.gradient import (
    KernelTransformation,
    Number,
    Updates,
    chain,
    of_batch,
    over_data,
)
from infwidth.infinite.readout import Readout
from infwidth.infinite.rules import Schedule, trace, with_rate_and_decay
from infwidth.kernels.inputs import check_count
from infwidth.optim.moments import product


class ScaleByEigenproState(NamedTuple):
    """State of EigenPro, which no step changes: S Q + S + Q + 2 numbers."""

    index_S: jax.Array
    """The subsample, numbers of examples."""
    vector_SxQ: jax.Array
    """v_q, eigenvectors of the subsample's kernel matrix, of the largest eigenvalues σ_q."""
    weight_Q: jax.Array
    """(1 − τ / σ_q) / σ_q, with τ the eigenvalue after those."""
    diagonal: jax.Array
    """max_s of the preconditioned kernel Θ_P(x_s, x_s)."""
    average: jax.Array
    """τ / S, the largest eigenvalue of the preconditioned kernel as an average over examples."""


def scale_by_eigenpro(
    readout: Readout, components: int = 100, *, subsample: int = 2000, seed: int = 0
) -> KernelTransformation:
    """Shrinks a functional gradient along the kernel's largest eigenfunctions, and sets its unit.

        G_ω ← u (G_ω − Σ_q (1 − τ/σ_q) h_qω ⟨h_q, G⟩),   h_qω = Σ_s v_qs g_ω(x_s) / √σ_q

    It keeps the kernel: a batch moves its own coefficients and those of the subsample. The unit
    u = K / (max Θ_P + (K − 1) τ/S) is such that with half the mean squared error of a batch a
    learning rate of 1 is stable, at every batch size K.

    Args:
      readout: whose kernel and examples they are.
      components: Q ≥ 1, how many eigenfunctions; fewer where the kernel has fewer that rounding
        does not hide.
      subsample: S, how many examples they are estimated from, at random; all where there are no
        more.
      seed: of the choice of the subsample.

    Returns:
      A transformation whose state is a `ScaleByEigenproState`. What it returns is no longer the
      gradient of one batch: momentum may follow it, and no second moment.

    Raises:
      ValueError: `components` or `subsample` is not an integer of at least 1, or the kernel is 0 at
        all examples.

    References:
      S. Ma and M. Belkin, Diving into the shallows: a computational perspective on large-scale
      shallow learning, NeurIPS 2017, arXiv:1703.10622; in coefficients, Kernel machines that adapt
      to GPUs for effective large batch training, MLSys 2019, arXiv:1806.06144; docs/theory.md,
      equation (30).
    """
    check_count("components", components)
    check_count("subsample", subsample)
    # A readout of float64 may have left the context that it was made in.
    with jax.enable_x64(readout.dtype == np.float64):
        preconditioner = _preconditioner(readout, components, subsample, seed)

    def update(
        updates: Updates, state: ScaleByEigenproState, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, ScaleByEigenproState]:
        gradient = of_batch(updates, "scale_by_eigenpro")
        if gradient.theta_KxN is None or c_NxE is None:
            raise ValueError(
                "scale_by_eigenpro needs the kernel of the batch with the whole data set and the "
                "coefficients: give FunctionalGradient its theta_KxN, and update(updates, state, c)"
            )
        K = len(gradient.index_K)
        along_QxE = product(
            state.vector_SxQ.T, product(gradient.theta_KxN[:, state.index_S].T, gradient.delta_KxE)
        )
        shrink_SxE = product(state.vector_SxQ, state.weight_Q[:, None] * along_QxE)
        step_NxE = over_data(gradient, c_NxE).at[state.index_S].add(-shrink_SxE)
        return step_NxE * (K / (state.diagonal + (K - 1) * state.average)), state

    return KernelTransformation(lambda _: preconditioner, update)


def eigenpro(
    learning_rate: Number | Schedule,
    readout: Readout,
    components: int = 100,
    momentum: Number | None = None,
    nesterov: bool = False,
    *,
    subsample: int = 2000,
    seed: int = 0,
    weight_decay: Number | Schedule = 0.0,
) -> KernelTransformation:
    """SGD preconditioned by the kernel's largest eigenfunctions, after EigenPro.

    Other arguments and errors are those of `scale_by_eigenpro`, and `weight_decay` of `adam_star`.

    Args:
      learning_rate: η, a number, or a function of the steps taken; in a unit in which 1 is stable
        with half the mean squared error, and 2 with a softmax's cross-entropy.
      momentum: as in `optax.sgd`; None is none.
      nesterov: Whether the momentum looks one step ahead.

    Returns:
      The transformation, to be used with `apply_updates`.

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
      >>> after = after_it(infinite.eigenpro(1.0, readout, components=20))
      >>> bool(after < 0.2 * min(after_it(infinite.sgd(rate)) for rate in (0.3, 1.0, 3.0, 10.0)))
      True
    """
    rule = scale_by_eigenpro(readout, components, subsample=subsample, seed=seed)
    if momentum is not None:
        rule = chain(rule, trace(momentum, nesterov))
    return with_rate_and_decay(rule, learning_rate, weight_decay)


def _preconditioner(
    readout: Readout, components: int, subsample: int, seed: int
) -> ScaleByEigenproState:
    S = min(subsample, readout.x_NxD.shape[0])
    index_S = np.sort(np.random.default_rng(seed).permutation(readout.x_NxD.shape[0])[:S])
    x_SxD = readout.x_NxD[index_S]
    theta_SxS = np.asarray(readout.kernel(x_SxD, x_SxD), np.float64)
    value_R, vector_SxR = scipy.linalg.eigh(
        theta_SxS, subset_by_index=(max(S - components - 1, 0), S - 1)
    )
    value_R, vector_SxR = value_R[::-1], vector_SxR[:, ::-1]  # the largest first
    # An eigenvalue that rounding may have made is nothing to divide by.
    known = int((value_R > jnp.finfo(readout.dtype).eps * np.trace(theta_SxS)).sum())
    if known == 0:
        raise ValueError("the kernel is 0 at all examples, and leaves nothing to precondition")
    next_value = value_R[known - 1]
    value_Q, vector_SxQ = value_R[: known - 1], vector_SxR[:, : known - 1]
    diagonal_S = np.diag(theta_SxS) - np.square(vector_SxQ) @ (value_Q - next_value)
    weight_Q = (1 - next_value / value_Q) / value_Q
    numbers = (vector_SxQ, weight_Q, diagonal_S.max(), next_value / S)
    return ScaleByEigenproState(
        jnp.asarray(index_S), *(jnp.asarray(value, readout.dtype) for value in numbers)
    )
