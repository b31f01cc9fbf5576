# SPDX-License-Identifier: Apache-2.0
"""A readout at infinite width over a finite data set: f(x) = Σ_i c_i Θ(x, x_i).

The kernel stands for the features, the coefficients c for the readout of all of them. It starts at
c = 0, so that f is 0, and trains on mini-batches of the data set by any rule of
`infwidth.infinite` (docs/theory.md, sections 4 and 6).

Shapes: N examples, M other inputs, D input dimension, E outputs, K examples a batch, S steps.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.infinite.gradient import FunctionalGradient, KernelTransformation, apply_updates
from infwidth.infinite.support import block_shape
from infwidth.kernels.inputs import check_count
from infwidth.optim.moments import product

Kernel = Callable[[jax.Array, jax.Array], jax.Array]
"""(x_NxD, y_MxD) -> theta_NxM, as the kernels of `infwidth.kernels` with their keywords bound."""

Loss = Callable[[jax.Array, Any], jax.Array]
"""(outputs_KxE, targets of the batch) -> the loss of the batch, one number."""

GRAM_LIMIT = 2 * 2**30
"""Bytes up to which the kernel matrix of the data set is kept."""

ROWS_LIMIT = 8 * 2**20
"""Bytes up to which rows of the kernel are multiplied by coefficients whole, what a cache holds."""


class ReadoutState(NamedTuple):
    """What training changes."""

    coefficients_NxE: jax.Array
    """c."""
    optimizer: Any
    """The state of the transformation."""


class Readout:
    """f(x) = Σ_i c_i Θ(x, x_i) over the examples x_i of a data set.

    The object is the data set and its kernel and never changes; coefficients are handed in and out.

    Examples:
      >>> from functools import partial
      >>> import jax.numpy as jnp
      >>> from infwidth import infinite
      >>> from infwidth.kernels import relu_kernel
      >>> x_NxD = jnp.linspace(-1, 1, 20)[:, None]
      >>> def loss(f_KxE, y_KxE):
      ...   return jnp.mean(jnp.square(f_KxE - y_KxE))
      >>> readout = infinite.Readout(partial(relu_kernel, bias=0.5), x_NxD, outputs=1)
      >>> solver = infinite.adam_star(0.3)
      >>> batches_SxK = jnp.tile(jnp.arange(20), (200, 1))
      >>> state, losses_S = readout.train(solver, loss, jnp.square(x_NxD), batches_SxK)
      >>> bool(losses_S[-1] < 0.1 * losses_S[0])
      True
      >>> readout(state.coefficients_NxE, jnp.array([[0.25]])).shape
      (1, 1)

    Attributes:
      kernel: Θ.
      x_NxD: the examples.
      outputs: E.
      gram_NxN: their kernel matrix, or None where it would not fit.
    """

    def __init__(
        self,
        kernel: Kernel,
        x_NxD: jax.typing.ArrayLike,
        outputs: int,
        *,
        gram_limit: int = GRAM_LIMIT,
        block: int = 1024,
    ):
        """Checks the examples, and computes their kernel matrix where it fits.

        Args:
          kernel: (x, y) -> [n, m], symmetric and positive semi-definite.
          x_NxD: examples, one a row; one that stands there twice has two coefficients.
          outputs: E ≥ 1.
          gram_limit: bytes up to which the kernel matrix is computed once and kept; above, the
            rows of each batch are computed at each step.
          block: rows of the kernel that are computed at a time.

        Raises:
          ValueError: no examples, or not a matrix, or a number in it is not finite; `outputs` or
            `block` is not an integer of at least 1; or the kernel returns no matrix of [n, m].
        """
        x_NxD = jnp.asarray(x_NxD)
        if x_NxD.ndim != 2 or 0 in x_NxD.shape:
            raise ValueError(
                f"examples are a matrix, one a row, at least one of them; got shape {x_NxD.shape}"
            )
        if not jnp.issubdtype(x_NxD.dtype, jnp.floating):
            x_NxD = x_NxD.astype(float)
        check_count("outputs", outputs)
        check_count("block", block)
        check_finite("example", x_NxD)
        self.kernel, self.x_NxD, self.outputs, self.block = kernel, x_NxD, outputs, block
        shape = jax.eval_shape(kernel, x_NxD[:1], x_NxD)
        N = x_NxD.shape[0]
        if getattr(shape, "shape", None) != (1, N):
            raise ValueError(f"the kernel of 1 and {N} inputs must be of shape (1, {N}): {shape}")
        self.dtype = shape.dtype
        self._compiled_kernel = jax.jit(kernel)
        fits = N * N * self.dtype.itemsize <= gram_limit
        self.gram_NxN = jnp.concatenate(list(self._rows(x_NxD))) if fits else None

    def init(self, solver: KernelTransformation) -> ReadoutState:
        """The state before the first step: c = 0."""
        c_NxE = jnp.zeros((self.x_NxD.shape[0], self.outputs), self.dtype)
        return ReadoutState(c_NxE, solver.init(c_NxE))

    def train(
        self,
        solver: KernelTransformation,
        loss: Loss,
        targets: Any,
        batch_SxK: jax.typing.ArrayLike,
        state: ReadoutState | None = None,
    ) -> tuple[ReadoutState, jax.Array]:
        """Takes S steps. It is compiled once for each solver, loss and shape.

        Args:
          solver: the rule, such as `infinite.adam_star(1e-3)`.
          loss: of a batch; called with the outputs and the batch's targets.
          targets: an array, or a tree of arrays, with one entry an example along axis 0.
          batch_SxK: which examples each batch holds; repeats add up.
          state: where to go on from; None starts anew.

        Returns:
          The state after the steps, and losses_S, each before its step.

        Raises:
          ValueError: targets are not one an example, one of them is not finite, a batch is empty
            or holds no such example, or the solver is not of this package.
        """
        batch_SxK = np.asarray(batch_SxK)
        N = self.x_NxD.shape[0]
        if batch_SxK.ndim != 2 or batch_SxK.shape[1] == 0:
            raise ValueError(f"batches are a matrix, one a row; got shape {batch_SxK.shape}")
        if not np.issubdtype(batch_SxK.dtype, np.integer):
            raise ValueError(f"batches hold numbers of examples, integers; got {batch_SxK.dtype}")
        if not isinstance(solver, KernelTransformation):
            raise ValueError(
                f"solver is a {type(solver).__name__}; use a rule of infwidth.infinite, such as "
                "infinite.adam_star(1e-3)"
            )
        if batch_SxK.size and not (batch_SxK.min() >= 0 and batch_SxK.max() < N):
            raise ValueError(f"batches hold numbers of examples, 0 to {N - 1}")
        targets = jax.tree.map(jnp.asarray, targets)
        for leaf in jax.tree.leaves(targets):
            if leaf.ndim == 0 or leaf.shape[0] != N:
                raise ValueError(f"{N} examples need {N} targets; got shape {leaf.shape}")
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                check_finite("target", leaf)
        state = self.init(solver) if state is None else state
        data = self.x_NxD if self.gram_NxN is None else self.gram_NxN
        kernel = self.kernel if self.gram_NxN is None else None
        return _train(kernel, solver, loss, data, targets, jnp.asarray(batch_SxK), state)

    def __call__(self, c_NxE: jax.Array, y_MxD: jax.typing.ArrayLike | None = None) -> jax.Array:
        """f_MxE of some inputs, one a row, a block of them at a time.

        Without inputs it is f of the examples themselves, whose kernel matrix may be at hand.

        Raises:
          ValueError: the coefficients are not of these examples and outputs; the inputs are no
            matrix of their dimension, or one is not finite.
        """
        if c_NxE.shape != (self.x_NxD.shape[0], self.outputs):
            raise ValueError(
                f"coefficients must have shape {(self.x_NxD.shape[0], self.outputs)}, one row an "
                f"example; got {c_NxE.shape}"
            )
        if y_MxD is None:
            if self.gram_NxN is not None:
                return product(self.gram_NxN, c_NxE)
            y_MxD = self.x_NxD
        y_MxD = self._inputs(y_MxD)
        if self.block * self.x_NxD.shape[0] * self.dtype.itemsize <= ROWS_LIMIT:
            values = [product(rows_BxN, c_NxE) for rows_BxN in self._rows(y_MxD)]
        else:
            cut = self._cut(y_MxD)
            values = [_sum_in_blocks(self.kernel, y_BxD, self.x_NxD, c_NxE) for y_BxD in cut]
        return jnp.concatenate([jnp.zeros((0, self.outputs), c_NxE.dtype), *values])

    def rows(self, y_MxD: jax.typing.ArrayLike) -> Iterator[jax.Array]:
        """Rows theta_BxN of the kernel of some inputs with the examples, a block at a time.

        Raises:
          ValueError: the inputs are no matrix of the examples' dimension, or one is not finite.
        """
        return self._rows(self._inputs(y_MxD))

    def _rows(self, y_MxD: jax.Array) -> Iterator[jax.Array]:
        return (self._compiled_kernel(y_BxD, self.x_NxD) for y_BxD in self._cut(y_MxD))

    def _cut(self, y_MxD: jax.Array) -> Iterator[jax.Array]:
        return (y_MxD[first : first + self.block] for first in range(0, len(y_MxD), self.block))

    def _inputs(self, y_MxD: jax.typing.ArrayLike) -> jax.Array:
        y_MxD = jnp.asarray(y_MxD, self.x_NxD.dtype)
        if y_MxD.ndim != 2 or y_MxD.shape[1] != self.x_NxD.shape[1]:
            raise ValueError(
                f"inputs must have dimension {self.x_NxD.shape[1]}, as the examples have; got "
                f"shape {y_MxD.shape}"
            )
        check_finite("input", y_MxD)
        return y_MxD


def train_coefficients(
    solver: KernelTransformation,
    loss: Loss,
    rows: Callable[[jax.Array], jax.Array],
    targets: Any,
    batch_SxK: jax.Array,
    state: ReadoutState,
) -> tuple[ReadoutState, jax.Array]:
    """Takes S steps in coefficient space, unchecked: a pure function, to be mapped and compiled.

    Other arguments and the result are those of `Readout.train`; `state` has to be given.

    Args:
      rows: from the numbers of some examples, index_K, to their rows of the kernel, theta_KxN;
        of a kernel matrix, `lambda index_K: gram_NxN[index_K]`.
      targets: a tree of arrays with one entry an example along axis 0.
    """

    def step(state: ReadoutState, index_K: jax.Array) -> tuple[ReadoutState, jax.Array]:
        c_NxE, optimizer = state
        theta_KxN = rows(index_K)
        target_K = jax.tree.map(lambda leaf: leaf[index_K], targets)
        value, delta_KxE = jax.value_and_grad(loss)(product(theta_KxN, c_NxE), target_K)
        gradient = FunctionalGradient(delta_KxE, index_K, theta_KxN[:, index_K], theta_KxN)
        updates, optimizer = solver.update(gradient, optimizer, c_NxE)
        return ReadoutState(apply_updates(c_NxE, updates), optimizer), value

    return jax.lax.scan(step, state, batch_SxK)


@partial(jax.jit, static_argnames=("kernel", "solver", "loss"))
def _train(
    kernel: Kernel | None,
    solver: KernelTransformation,
    loss: Loss,
    data: jax.Array,
    targets: Any,
    batch_SxK: jax.Array,
    state: ReadoutState,
) -> tuple[ReadoutState, jax.Array]:
    """`data` is the kernel matrix of the examples or, where a kernel is given, the examples."""

    def rows(index_K: jax.Array) -> jax.Array:
        return data[index_K] if kernel is None else kernel(data[index_K], data)

    return train_coefficients(solver, loss, rows, targets, batch_SxK, state)


@partial(jax.jit, static_argnames="kernel")
def _sum_in_blocks(
    kernel: Kernel, y_MxD: jax.Array, x_NxD: jax.Array, c_NxE: jax.Array
) -> jax.Array:
    """f_MxE = Θ(y, x) c in blocks of Θ that a CPU's nearest caches hold: none goes to memory."""
    (M, _), (N, E) = y_MxD.shape, c_NxE.shape
    (B, Q), (A, K) = block_shape(M), block_shape(N)
    # Filled up with copies of an input, at which any kernel is finite, of coefficients 0.
    y_BxQxD = jnp.pad(y_MxD, ((0, B * Q - M), (0, 0)), mode="edge").reshape(B, Q, -1)
    x_AxKxD = jnp.pad(x_NxD, ((0, A * K - N), (0, 0)), mode="edge").reshape(A, K, -1)
    c_AxKxE = jnp.pad(c_NxE, ((0, A * K - N), (0, 0))).reshape(A, K, E)

    def of_rows(y_QxD: jax.Array) -> jax.Array:
        def add(f_QxE: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            x_KxD, c_KxE = block
            return f_QxE + product(kernel(y_QxD, x_KxD), c_KxE), None

        return jax.lax.scan(add, jnp.zeros((Q, E), c_NxE.dtype), (x_AxKxD, c_AxKxE))[0]

    return jax.lax.map(of_rows, y_BxQxD).reshape(B * Q, E)[:M]


def check_finite(what: str, values: jax.Array) -> None:
    """Refuses rows that hold a number that is not finite, and says which is the first."""
    finite = np.isfinite(np.asarray(values))
    if not finite.all():
        first = int(np.argwhere(~finite)[0, 0])
        raise ValueError(f"{what} {first} holds a number that is not finite")
