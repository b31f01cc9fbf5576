# SPDX-License-Identifier: Apache-2.0
"""Settings of an experiment that do not fit are refused, and named."""

import pytest
from pydantic import ValidationError

from infwidth.experiments.architectures.settings import ArchitecturesSettings
from infwidth.experiments.convergence.settings import ConvergenceSettings
from infwidth.experiments.expected_value.settings import ExpectedValueSettings
from infwidth.experiments.feature_selection.settings import FeatureSelectionSettings
from infwidth.experiments.feature_support.settings import FeatureSupportSettings

MISTAKES = {
    ArchitecturesSettings: [
        ({"variants": ["melted"]}, "unknown variant 'melted'; known: unfrozen"),
        ({"architectures": ["gnn"]}, "'mlp', 'cnn' or 'rnn'"),
        ({"steps": 30}, r"warmup_steps must be below steps \(30\)"),
        ({"seeds": [0]}, "seed 0 is in seeds and in tuning.seeds"),
        ({"widths": [2, 2]}, "2 is given twice"),
    ],
    ConvergenceSettings: [
        ({"widths": [32, 64, 256]}, r"fewer than two from slope_from \(256\) on"),
        ({"seeds": [1, 1]}, "1 is given twice"),
        ({"momentum": 1.0}, "less than 1"),
        ({"rate": 1.0}, "Extra inputs are not permitted"),
    ],
    ExpectedValueSettings: [
        ({"train_examples": 10}, r"trained\.batch_size \(32\) must be at most train_examples"),
        ({"fixed": {"widths": [8, 64], "features": 100}}, "at least twice the largest width"),
        ({"trained": {"widths": [2], "inits_per_unit": 1}}, "must be at least 3"),
        ({"trained": {"widths": [2, 2]}}, "2 is given twice"),
    ],
    FeatureSelectionSettings: [
        ({"seeds": [0, 10]}, "0 is among seeds and among tuning.seeds"),
        ({"pruning": {"judged_share": 0.3}}, r"judged_share \(0.3\) must be one of shares"),
        ({"pruning": {"test_examples": 1700}}, "must leave at least one"),
        ({"density_ratio": {"bands": 6}}, "multiple of 4"),
        ({"density_ratio": {"dimensions": [3]}}, "1 or 2"),
        ({"planted": {"widths": [2, 2]}}, "2 is given twice"),
    ],
    FeatureSupportSettings: [
        ({"cone_half_angle": 90}, "less than 90"),
        ({"widths": [4, 4]}, "4 is given twice"),
        ({"fit_nodes": {"line": 12}}, "multiple of 8"),
        ({"report": {"draws": 9}}, r"draws \(9\) must be at least 1/level − 1"),
        ({"atoms": 1}, "greater than or equal to 2"),
    ],
}


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [(section, *mistake) for section, mistakes in MISTAKES.items() for mistake in mistakes],
)
def test_settings_that_do_not_fit_are_named(section, values, message):
    with pytest.raises(ValidationError, match=message):
        section.model_validate(values)
