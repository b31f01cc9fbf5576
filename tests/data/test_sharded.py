# SPDX-License-Identifier: Apache-2.0
"""Tokens in several arrays read as the same tokens in one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from infwidth.data.sharded import ShardedTokens

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any)


@given(lengths=LENGTHS, data=st.data())
def test_reads_as_one_array(lengths: list[int], data: st.DataObject) -> None:
    ends = np.cumsum(lengths)
    whole = np.arange(ends[-1], dtype=np.uint16)
    tokens = ShardedTokens(np.split(whole, ends[:-1]))
    shapes = st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    index = data.draw(st_numpy.arrays(np.int64, shapes, elements=st.integers(0, len(whole) - 1)))
    found = tokens[index]
    assert found.dtype == whole.dtype
    np.testing.assert_array_equal(found, whole[index])


@given(lengths=LENGTHS, cut=st.slices(54))
def test_slices_read_as_one_array(lengths: list[int], cut: slice) -> None:
    ends = np.cumsum(lengths)
    whole = np.arange(ends[-1], dtype=np.uint16)
    np.testing.assert_array_equal(ShardedTokens(np.split(whole, ends[:-1]))[cut], whole[cut])


@pytest.mark.parametrize("index", [-1, 7, [[0, 7]], [3, -2]])
def test_outside_is_an_error(index: object) -> None:
    tokens = ShardedTokens([np.arange(3), np.arange(4)])
    with pytest.raises(IndexError, match="out of range for 7 tokens"):
        tokens[index]
