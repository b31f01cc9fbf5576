# SPDX-License-Identifier: Apache-2.0
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

from dataclasses import dataclass

import jax
import numpy as np
from numpy.typing import NDArray

from infwidth.kernels.inputs import extended_inputs
from infwidth.kernels.support_fit import Activation, Bench
from infwidth.kernels.support_geometry import effective_rank, kink, one_sided, spectra, unseen

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SupportReport:
    """What `support_report` found; `str` of it is a paragraph.

    Attributes:
      missing: whether a direction is missing: the features do not span what the inputs span,
        though there are enough of them; or `p_value` ≤ level, and `score` above the null's median
        by more than the tolerance.
      direction_D: unit vector u in input space. The direction that the features do not span, the
        one of them along which inputs are largest; else that of the feature that is furthest out
        of reach. Its kink (of an activation without kinks: its zero) is at u·x = `offset`, and it
        is active beyond.
      offset: of that feature; infinite where its argument is nearly constant.
      share: how much of that feature's mean square is out of reach.
      score: what the test compares: the most that is out of reach of a candidate, before the local
        search, in units of the mean square of an average fresh feature.
      null_R: the scores of draws of the totally supported law.
      p_value: of the score among `null_R`.
      features: H.
      rank: dimensions that the features span, of those that the inputs do.
      full_rank: dimensions that the inputs span, the appended constant included.
      effective_rank: exp of the entropy of the arguments' spectrum.
      full_effective_rank: the same of the inputs' own spectrum.
      distinct: distinct features; under any density there are no ties.
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
        seen = (
            f"{self.features:,} features, {self.distinct:,} of them distinct, of effective rank "
            f"{self.effective_rank:.1f} (the inputs: {self.full_effective_rank:.1f})."
        )
        compared = (
            f"at most {self.null_R.max():.2g} in {self.null_R.size} draws of a totally supported "
            f"law, p = {self.p_value:.2g}"
        )
        if not self.missing:
            found = f"No direction is missing: the worst score is {self.score:.2g} ({compared})."
        else:
            place = f"{self._direction()}, kink at {round(self.offset, 2) + 0:g}"
            found = (
                f"MISSING: the feature along {place}, of which {self.share:.1%} is out of reach. "
                f"The score is {self.score:.2g} ({compared})."
            )
        return " ".join([seen, found, *self._causes()])

    def _direction(self) -> str:
        """The largest coordinates of the direction, in words."""
        order = np.argsort(-np.abs(self.direction_D), kind="stable")[:3]
        large = [i for i in order if abs(self.direction_D[i]) >= 0.005]
        shown = [f"{self.direction_D[i]:+.2f} x[{i}]" for i in large]
        rest = np.delete(self.direction_D, large)
        shown += ["…"] if np.any(np.abs(rest) >= 0.005) else []
        return " ".join(shown) or "the constant"

    def _causes(self) -> list[str]:
        causes = []
        if self.rank < self.full_rank:
            causes.append(
                f"The features span {self.rank} of the inputs' {self.full_rank} dimensions."
            )
        if self.distinct < self.features:
            causes.append(f"Wider than {self.distinct} adds nothing: features repeat.")
        if 2 * self.levels <= self.distinct:
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

    A direction that is not spanned is certain. Else it is a Monte-Carlo test of "ω ~ N(0, s² I)",
    s² the mean square of ω's entries, under which the chance of a false alarm is at most `level`.
    It is a statement about these features on these inputs. A law with total support, such as that
    of trained features, is called missing a direction, too, where it has so few features there
    that they leave out more of it than N(0, s² I) would; and where even that leaves out much, for
    want of features or inputs, little is found. Inputs should number some hundreds.

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
      The report. It is a function of its arguments, and takes about a second for some hundreds of
      features.

    Raises:
      ValueError: shapes do not fit, a number is not finite, there are fewer than 16 inputs, all
        features are 0, or `draws` cannot reach `level`, which lies between 0 and 1.

    Examples:
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
    if not 0 < level < 1:
        raise ValueError(f"the level of a test lies between 0 and 1; got {level}")
    if not draws >= 1 / level - 1:
        raise ValueError(f"a test at level {level} needs {1 / level - 1:.0f} draws; got {draws}")
    bench = Bench.of(x_Nxd, omega_Hxd, activation, seed)
    score, worst_d, fit_RxBxA = bench.score(omega_Hxd)
    rank, full_rank, unseen_d = unseen(omega_Hxd, x_Nxd)
    if unseen_d is None:
        share, nu_d = bench.search(fit_RxBxA, worst_d)
    else:
        share, nu_d = bench.worst(fit_RxBxA, np.stack([unseen_d, -unseen_d]))
    rng = np.random.default_rng([seed, 1])
    null_R = np.array(
        [bench.score(bench.scale * rng.normal(size=omega_Hxd.shape))[0] for _ in range(draws)]
    )
    p_value = (1 + int((null_R >= score).sum())) / (draws + 1)
    found = p_value <= level and score - float(np.median(null_R)) > tolerance
    direction_D, offset = kink(nu_d, x_Nxd, bias)
    spectrum, full = spectra(omega_Hxd, x_Nxd)
    return SupportReport(
        missing=found or unseen_d is not None,
        direction_D=direction_D,
        offset=offset,
        share=share,
        score=score,
        null_R=null_R,
        p_value=p_value,
        features=omega_Hxd.shape[0],
        rank=rank,
        full_rank=full_rank,
        effective_rank=effective_rank(spectrum),
        full_effective_rank=effective_rank(full),
        distinct=len(np.unique(omega_Hxd, axis=0)),
        levels=max(len(np.unique(column_H)) for column_H in omega_Hxd.T),
        one_sided=one_sided(omega_Hxd, level),
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
