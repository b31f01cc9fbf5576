# SPDX-License-Identifier: Apache-2.0
"""What the jobs of a bench hang on."""

from infwidth.config.settings import Settings
from infwidth.experiments.registry import BENCHES, REGISTRY
from infwidth.training.spec import variants_digest
from infwidth.workflow import code_of_bench


def test_where_no_variants_are_named_every_treatment_of_features_counts():
    # infinite_rules has normalized and measured features of its own.
    digest = code_of_bench("infinite_rules", Settings())
    assert digest != variants_digest(REGISTRY["infinite_rules"].code, [])
    assert len({code_of_bench(name, Settings()) for name in BENCHES}) == len(BENCHES)
