"""Is a sample of features totally supported, and if not, which direction is missing?

The question is put to functions and not to parameters. A fresh feature, drawn from a law that has
total support, is fitted by the features at hand on one half of the inputs; what is left of it on
the other half is out of their reach. The direction in which most is left is the one missing. What
sampling alone would leave is known from draws of the totally supported law, of the same number.

So an open cone of analytic features counts as supported, which it is, and one of ReLU does not
(docs/theory.md, section 10).

Shapes: H features, N inputs of dimension D, d = D + 1 with the appended constant, else D; A inputs
to fit on, B to test on; M candidate directions, R draws of the null.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import nnls
from scipy.special import bdtr

from infwidth.kernels.inputs import extended_inputs

Array = NDArray[np.float64]
Activation = Callable[[Array], Any]

MOST_INPUTS = 512
"""Inputs that are used; of more, that many are chosen at random."""

FRESH = 64
"""Fresh directions that are tried, besides those that the features' second moment names."""

RIDGE = 1e-6
"""Of a fit, in units of the mean of the features' mean squares."""

ROUNDS, MOVES = 24, 48
"""Of the local search from the worst candidate on, which names the direction."""

SAME = 1e-6
"""Below this share of the size of ω two numbers count as one."""


@dataclass(frozen=True, eq=False)
class SupportReport:
    """What `support_report` found; `str` of it is a paragraph.

    Attributes:
      missing: whether a direction is missing: `p_value` ≤ level, and `score` above the null's
        median by more than the tolerance.
      direction_D: unit vector u in input space; the feature that is furthest out of reach has its
        kink (of an activation without kinks: its zero) at u·x = `offset`, and is active beyond.
      offset: of that feature; infinite where its argument is nearly constant.
      share: how much of that feature's mean square is out of reach.
      score: what the test compares: the most that is out of reach of a candidate, before the local
        search, in units of the mean square of an average fresh feature.
      null_R: the scores of draws of the totally supported law.
      p_value: of the score among `null_R`.
      features: H.
      rank: dimensions that the features' arguments span on the inputs.
      full_rank: dimensions that the inputs span, the appended constant included.
      effective_rank: exp of the entropy of the arguments' spectrum.
      full_effective_rank: the same of the inputs' own spectrum.
      distinct: distinct features; ties have probability 0 under any density.
      levels: the most values that a coordinate of ω takes.
      one_sided: all features lie in one open half-space, beyond chance: a cone.
    """

    missing: bool
    direction_D: Array
    offset: float
    share: float
    score: float
    null_R: Array
    p_value: float
    features: int
    rank: int
    full_rank: int
    effective_rank: float
    full_effective_rank: float
    distinct: int
    levels: int
    one_sided: bool

    def __str__(self) -> str:
        largest = float(self.null_R.max())
        seen = (
            f"{self.features:,} features, {self.distinct:,} of them distinct, of effective rank "
            f"{self.effective_rank:.1f} (the inputs: {self.full_effective_rank:.1f})."
        )
        compared = (
            f"at most {largest:.2%} in {self.null_R.size} draws of a totally supported law; "
            f"p = {self.p_value:.2g}"
        )
        if not self.missing:
            found = f"No direction is missing: the worst score is {self.score:.2%}, {compared}."
        else:
            place = f"{self._direction()}, kink at {self.offset:.3g}"
            found = (
                f"MISSING: the feature along {place}, of which {self.share:.1%} is out of reach. "
                f"The score is {self.score:.2%}, {compared}."
            )
        return " ".join([seen, found, *self._causes()])

    def _direction(self) -> str:
        """The largest coordinates of the direction, in words."""
        order = np.argsort(-np.abs(self.direction_D), kind="stable")[:3]
        shown = [f"{self.direction_D[i]:+.2f} x[{i}]" for i in order if self.direction_D[i] != 0]
        return " ".join([*shown, "…"] if self.direction_D.size > len(shown) else shown)

    def _causes(self) -> list[str]:
        causes = []
        if self.rank < self.full_rank:
            causes.append(f"The features span {self.rank} of the inputs' {self.full_rank} dimensions.")
        if self.distinct < self.features:
            causes.append(f"Wider than {self.distinct} adds nothing: features repeat.")
        if self.levels < self.distinct:
            causes.append(f"Coordinates take at most {self.levels} values.")
        if self.one_sided:
            causes.append("All features lie on one side of a hyperplane through 0: a cone.")
        return causes


def support_report(
    omega_Hxd: jax.typing.ArrayLike,
    x_NxD: jax.typing.ArrayLike,
    *,
    activation: Activation | None = None,
    bias: float = 0.0,
    draws: int = 99,
    level: float = 0.01,
    tolerance: float = 0.001,
    seed: int = 0,
) -> SupportReport:
    """Looks for the direction that features g_ω(x) = activation(ω·x̃/√d) leave out.

    The test is a Monte-Carlo test of "ω ~ N(0, s² I)", s² the mean square of ω's entries, so that
    under it the chance of a false alarm is `level` (below it by the tolerance). A law with total
    support but other than that, such as that of trained features, is called missing a direction
    where it leaves more of that direction out, by `tolerance`, than any draw: then it has too few
    features there for the inputs given. With H features fewer than the inputs need, little is
    detected; inputs should number some hundreds.

    Args:
      omega_Hxd: one feature a row; its last coordinate goes with the appended constant, if any.
      x_NxD: inputs, one a row: a sample of the data that matter.
      activation: elementwise, on arrays; None is ReLU.
      bias: b ≥ 0, the constant appended to every input; 0 appends none.
      draws: R, of the null.
      level: of the test.
      tolerance: least score, beyond the null's median, that counts.
      seed: of everything random.

    Returns:
      The report. It is a function of its arguments, and takes about a second.

    Raises:
      ValueError: shapes do not fit, a number is not finite, there are fewer than 16 inputs, all
        features are 0, or `draws` cannot reach `level`.

    Example:
      >>> import numpy as np
      >>> from infwidth.kernels import support_report
      >>> rng = np.random.default_rng(0)
      >>> x_NxD, omega_Hxd = rng.normal(size=(300, 3)), rng.normal(size=(200, 3))
      >>> omega_Hxd[:, 2] = 0.0  # a plane
      >>> report = support_report(omega_Hxd, x_NxD)
      >>> report.missing, report.rank, abs(report.direction_D).round(1)
      (True, 2, array([0., 0., 1.]))
    """
    x_Nxd, omega_Hxd = _checked(omega_Hxd, x_NxD, bias)
    if not draws >= 1 / level - 1:
        raise ValueError(f"a test at level {level} needs {1 / level - 1:.0f} draws; got {draws}")
    bench = _Bench.of(x_Nxd, omega_Hxd, activation, seed)
    score, worst_d, fit_BxA = bench.score(omega_Hxd)
    rng = np.random.default_rng([seed, 1])
    null_R = np.array(
        [bench.score(bench.scale * rng.normal(size=omega_Hxd.shape))[0] for _ in range(draws)]
    )
    share, nu_d = bench.search(fit_BxA, worst_d)
    p_value = (1 + int((null_R >= score).sum())) / (draws + 1)
    missing = p_value <= level and score - float(np.median(null_R)) > tolerance
    direction_D, offset = _kink(nu_d, x_Nxd, bias)
    spectrum, full = _spectra(omega_Hxd, x_Nxd)
    return SupportReport(
        missing=missing,
        direction_D=direction_D,
        offset=offset,
        share=share,
        score=score,
        null_R=null_R,
        p_value=p_value,
        features=omega_Hxd.shape[0],
        rank=_rank(spectrum),
        full_rank=_rank(full),
        effective_rank=_effective_rank(spectrum),
        full_effective_rank=_effective_rank(full),
        distinct=len(np.unique(_rounded(omega_Hxd), axis=0)),
        levels=max(len(np.unique(column_H)) for column_H in _rounded(omega_Hxd).T),
        one_sided=_one_sided(omega_Hxd, level),
    )


def _checked(
    omega_Hxd: jax.typing.ArrayLike, x_NxD: jax.typing.ArrayLike, bias: float
) -> tuple[Array, Array]:
    x_Nxd = np.asarray(extended_inputs(x_NxD, x_NxD, bias)[0], np.float64)
    omega_Hxd = np.asarray(omega_Hxd, np.float64)
    d = x_Nxd.shape[1]
    if omega_Hxd.ndim != 2 or omega_Hxd.shape[0] == 0 or omega_Hxd.shape[1] != d:
        raise ValueError(
            f"features are a matrix, one a row, of the dimension {d} of the inputs with the "
            f"appended constant, if any; got shape {omega_Hxd.shape}"
        )
    if x_Nxd.shape[0] < 16:
        raise ValueError(f"a report needs 16 inputs, better some hundreds; got {x_Nxd.shape[0]}")
    for name, values in (("feature", omega_Hxd), ("input", x_Nxd)):
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise ValueError(f"{name} {int(np.argmin(finite))} holds a number that is not finite")
    if not omega_Hxd.any():
        raise ValueError("all features are 0")
    return x_Nxd, omega_Hxd


def _relu(z: Array) -> Array:
    return np.maximum(z, 0)


class _Bench(NamedTuple):
    """What all samples of features are measured with."""

    x_Axd: Array
    x_Bxd: Array
    activation: Activation
    scale: float
    fresh_Mxd: Array
    unit: float
    """Mean square of an average fresh feature."""
    seed: int

    @classmethod
    def of(
        cls, x_Nxd: Array, omega_Hxd: Array, activation: Activation | None, seed: int
    ) -> "_Bench":
        rng = np.random.default_rng([seed, 0])
        x_Nxd = x_Nxd[rng.permutation(len(x_Nxd))[:MOST_INPUTS]]
        half = len(x_Nxd) // 2
        scale = float(np.sqrt(np.square(omega_Hxd).mean()))
        fresh_Mxd = rng.normal(size=(FRESH, x_Nxd.shape[1]))
        bench = cls(
            x_Nxd[:half], x_Nxd[half:], activation or _relu, scale, fresh_Mxd, 1.0, seed
        )
        unit = float(np.square(bench._values(x_Nxd, bench._sized(fresh_Mxd))).mean())
        if not unit > 0:
            raise ValueError("features that are drawn anew are 0 at all inputs")
        return bench._replace(unit=unit)

    def score(self, omega_Hxd: Array) -> tuple[float, Array, Array]:
        """The worst score of a candidate, that candidate, and the features' `_fit`."""
        fit_BxA = self._fit(omega_Hxd)
        _, vectors_dxd = np.linalg.eigh(omega_Hxd.T @ omega_Hxd)
        named_Mxd = np.concatenate([vectors_dxd.T, omega_Hxd.mean(axis=0, keepdims=True)])
        nu_Mxd = self._sized(np.concatenate([self.fresh_Mxd, named_Mxd, -named_Mxd]))
        left_M, _ = self._left(fit_BxA, nu_Mxd)
        worst = int(left_M.argmax())
        return float(left_M[worst]) / self.unit, nu_Mxd[worst], fit_BxA

    def search(self, fit_BxA: Array, nu_d: Array) -> tuple[float, Array]:
        """Moves a direction to where more is out of reach; returns the feature's share, too."""
        rng = np.random.default_rng([self.seed, 2])
        moves_MxD = rng.normal(size=(ROUNDS, MOVES, nu_d.size)) / np.sqrt(nu_d.size)
        for radius, move_Mxd in zip(np.geomspace(0.7, 0.01, ROUNDS), moves_MxD, strict=True):
            nu_Mxd = nu_d + radius * np.linalg.norm(nu_d) * np.append(move_Mxd, 0 * nu_d[None], 0)
            nu_Mxd = self._sized(nu_Mxd)
            left_M, square_M = self._left(fit_BxA, nu_Mxd)
            worst = int(left_M.argmax())
            nu_d = nu_Mxd[worst]
        return float(left_M[worst] / square_M[worst]), nu_d

    def _sized(self, nu_Mxd: Array) -> Array:
        """Directions as features of the size that a fresh one has."""
        norm_Mx1 = np.linalg.norm(nu_Mxd, axis=1, keepdims=True)
        size = self.scale * np.sqrt(nu_Mxd.shape[1])
        return nu_Mxd * (size / np.where(norm_Mx1 > 0, norm_Mx1, 1))

    def _values(self, x_Nxd: Array, omega_Hxd: Array) -> Array:
        z_NxH = x_Nxd @ omega_Hxd.T / np.sqrt(x_Nxd.shape[1])
        return np.asarray(self.activation(z_NxH), np.float64)

    def _fit(self, omega_Hxd: Array) -> Array:
        """From the values of a function on A to its fit on B by the features, shape (B, A)."""
        g_AxH, g_BxH = self._values(self.x_Axd, omega_Hxd), self._values(self.x_Bxd, omega_Hxd)
        k_AxA = g_AxH @ g_AxH.T
        mean = np.trace(k_AxA) / len(k_AxA)
        if mean == 0:
            return np.zeros((len(g_BxH), len(g_AxH)))
        k_AxA[np.diag_indices_from(k_AxA)] += RIDGE * mean
        return cho_solve(cho_factor(k_AxA), g_AxH @ g_BxH.T).T

    def _left(self, fit_BxA: Array, nu_Mxd: Array) -> tuple[Array, Array]:
        """Mean squares on B: of what the fit, times the best factor, leaves; and of the feature."""
        g_AxM, g_BxM = self._values(self.x_Axd, nu_Mxd), self._values(self.x_Bxd, nu_Mxd)
        fitted_BxM = fit_BxA @ g_AxM
        square_M, of_fit_M, product_M = (
            (a * b).mean(axis=0) for a, b in ((g_BxM, g_BxM), (fitted_BxM,) * 2, (g_BxM, fitted_BxM))
        )
        reached_M = np.square(product_M) / np.where(of_fit_M > 0, of_fit_M, 1)
        return np.maximum(square_M - reached_M, 0), square_M


def _kink(nu_d: Array, x_Nxd: Array, bias: float) -> tuple[Array, float]:
    """Where ν·x̃ = 0, as a unit vector in input space and a distance along it."""
    # What the inputs do not span is of no effect, and would be arbitrary.
    _, sizes, basis_dxd = np.linalg.svd(x_Nxd, full_matrices=False)
    basis = basis_dxd[sizes > SAME * sizes[0]]
    nu_d = basis.T @ (basis @ nu_d)
    nu_D, constant = (nu_d[:-1], nu_d[-1] * bias) if bias > 0 else (nu_d, 0.0)
    norm = float(np.linalg.norm(nu_D))
    if norm <= SAME * np.linalg.norm(nu_d):
        return np.zeros_like(nu_D), -np.inf * np.sign(constant)
    return nu_D / norm, -constant / norm


def _spectra(omega_Hxd: Array, x_Nxd: Array) -> tuple[Array, Array]:
    """Singular values of the arguments x̃ω, and of the inputs x̃."""
    r_dxd = np.linalg.qr(x_Nxd, mode="r")
    return (
        np.linalg.svd(r_dxd @ np.linalg.qr(omega_Hxd, mode="r").T, compute_uv=False),
        np.linalg.svd(r_dxd, compute_uv=False),
    )


def _rank(sizes: Array) -> int:
    return int((sizes > SAME * sizes[0]).sum())


def _effective_rank(sizes: Array) -> float:
    """exp of the entropy of the spectrum (Roy & Vetterli 2007), by squares."""
    share = np.square(sizes) / np.square(sizes).sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def _rounded(omega_Hxd: Array) -> Array:
    return np.round(omega_Hxd / (SAME * np.abs(omega_Hxd).max()))


def _one_sided(omega_Hxd: Array, level: float) -> bool:
    """Whether an open half-space holds all features, and chance does not explain it.

    It does unless 0 is in the convex hull of their directions. Of H directions from a symmetric law
    some half-space holds all with probability P(Binomial(H − 1, ½) < d) (Wendel 1962).
    """
    norm_H = np.linalg.norm(omega_Hxd, axis=1)
    u_Hxd = omega_Hxd[norm_H > 0] / norm_H[norm_H > 0, None]
    u_Hxd = np.unique(u_Hxd, axis=0)
    H, d = u_Hxd.shape
    if bdtr(min(d, H) - 1, H - 1, 0.5) > level:
        return False
    _, distance = nnls(np.vstack([u_Hxd.T, np.ones(H)]), np.append(np.zeros(d), 1.0))
    return bool(distance > SAME)
