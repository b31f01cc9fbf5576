# SPDX-License-Identifier: Apache-2.0
"""What the means over inits say on the claims."""

import math

from scipy import special

from infwidth.experiments.expected_value.measured import ExpectedValue
from infwidth.stats.effects import Effect, LargestEffect

CASES = {
    "adam_star": "ADAM*",
    "sgd": "SGD",
    "sgd_squared": "SGD, squared error",
}


def effects(measured: ExpectedValue) -> dict[str, list[Effect]]:
    """Biases of a fixed readout function, by width, and how those of trained models fall.

    `fixed_bias`: the largest absolute bias of any output, relative to the root mean square of the
    infinite outputs. `trained_bias_exponent`: p in bias ∝ H^p, by rule.
    """
    fixed = [cell.width for cell in measured.fixed()]
    return {
        "fixed_bias": [_fixed(measured, width) for width in fixed],
        "trained_bias_exponent": [_exponent(measured, case) for case in measured.cases],
    }


def _fixed(measured: ExpectedValue, width: int) -> Effect:
    mean_K, error_K, inits = measured.fixed_outputs(width)
    return LargestEffect.of_means(f"H = {width:,}", mean_K, error_K, inits)


def _exponent(measured: ExpectedValue, case: str) -> Effect:
    """The error is that of a normal law with an interval as wide as the profile's.

    Repeats are the inits of all widths: the exponent rests on each of them.
    """
    slope = measured.slope(case)
    error = slope.half_width / float(special.ndtri((1 + measured.confidence) / 2))
    error = error if math.isfinite(error) else math.nan
    inits = sum(cell.inits for cell in measured.trained(case))
    return Effect(CASES.get(case, case), slope.estimate, error, math.inf, inits)
