# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from infwidth.experiments.memory import measured as memory
from tests.experiments.memory_synthetic import write


def test_the_kernel_form_crosses_where_its_bytes_are_the_dense_ones(tmp_path):
    # Synthetic: 100 bytes an input and 1,000 to start with; 300 a unit of width, 200 without ω.
    measured = memory.load(write(tmp_path))
    for quantity, form, per_unit in (
        ("state", "adam_star", 300),
        ("trained", "adam_star", 200),
        ("trained", "adam", 300),
    ):
        for crossing in measured.crossings(quantity, form):
            assert crossing.size == per_unit * crossing.width
            expected = (per_unit * crossing.width - 1000) / 100
            assert crossing.inputs == pytest.approx(expected, rel=1e-9)
        ratio = measured.inputs_per_unit(quantity, form)
        assert ratio == pytest.approx(per_unit / 100, rel=0.01)


def test_a_dense_form_that_is_smaller_from_the_start_is_never_crossed(tmp_path):
    measured = memory.load(write(tmp_path, widths=(2, 4096)))
    small, large = measured.crossings("state")
    assert math.isnan(small.inputs)
    assert math.isfinite(large.inputs)


def test_a_single_size_of_the_buffers_is_a_line_through_zero(tmp_path):
    measured = memory.load(write(tmp_path, inputs=(4096, 4096)))
    assert len(measured.kernel("state")[0]) == 1
    per_input = (100 * 4096 + 1000) / 4096
    assert measured.inputs_per_unit("state") == pytest.approx(300 / per_input, rel=1e-9)
