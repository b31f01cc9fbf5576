# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from infwidth.config.errors import UserError
from infwidth.data.batches import (
    Batches,
    Permutation,
    describe_batch,
    evaluation_windows,
    key64,
    readable,
)
from infwidth.data.sharded import ShardedTokens
from infwidth.data.tokens import TokenSplit
from infwidth.data.vocabulary import ByteVocabulary
from tests.data.conftest import Prepared


def split_of(lengths: list[int]) -> TokenSplit:
    """A split whose token at position i is i, so that a batch shows where it was cut."""
    bounds = np.cumsum([0, *lengths])
    return TokenSplit("train", np.arange(bounds[-1], dtype=np.uint32), bounds, Path("unused"))


@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_a_permutation_is_one(size: int, key: int):
    image = Permutation(size, key64(key))(np.arange(size))
    assert np.array_equal(np.sort(image), np.arange(size))


def test_permutations_look_random():
    size, keys = 50, 4000
    images = np.stack([Permutation(size, key64(k, 0))(np.arange(size)) for k in range(keys)])
    # Counts of (index, image) under uniform permutations have mean keys/size = 80; χ² over the
    # size² cells has (size − 1)² degrees of freedom, so mean 2401 and sd 69: five of them.
    counts = np.zeros((size, size))
    np.add.at(counts, (np.tile(np.arange(size), keys), images.ravel()), 1)
    chi_squared = ((counts - keys / size) ** 2 / (keys / size)).sum()
    assert abs(chi_squared - 2401) < 5 * 69
    # So does the step between neighbours' images: 49 differences modulo 50, none of them 0.
    steps = np.bincount((np.diff(images, axis=1) % size).ravel(), minlength=size)
    expected = keys * (size - 1) / (size - 1)
    assert steps[0] == 0
    assert np.abs(steps[1:] - expected).max() < 5 * np.sqrt(expected)


def test_permutation_values_never_change():
    # They decide which batches a run sees: a change makes every earlier run another one.
    assert Permutation(10, key64(1, 2))(np.arange(10)).tolist() == [5, 4, 8, 3, 2, 1, 9, 0, 6, 7]


def test_the_batch_of_a_billion_tokens_takes_no_memory():
    size = 5 * 10**9
    tokens = np.broadcast_to(np.uint16(7), (size,))
    split = TokenSplit("train", tokens, np.asarray([0, size]), Path("unused"))
    batches = Batches(split, 64, 32, 0)
    starts = batches.starts(batches.steps_per_epoch - 1)
    assert len(np.unique(starts)) == 32
    assert starts.max() > 2**32 // 2
    assert batches.at(10**6).shape == (32, 65)


def test_batches_are_runs_of_tokens_and_a_pure_function_of_data_seed_and_step():
    split = split_of([600, 400])
    chunk = Batches(split, 8, 4, seed=3).chunk(20, 50)
    again = Batches(split, 8, 4, seed=3)
    assert chunk.shape == (50, 4, 9)
    assert chunk.dtype == np.int32
    for step in (69, 20, 41):
        assert np.array_equal(again.at(step), chunk[step - 20])
    assert (np.diff(chunk, axis=2) == 1).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_an_epoch_meets_each_target_at_most_once_and_leaves_out_less_than_a_batch(seed: int):
    batches = Batches(split_of([1003]), context=8, batch_size=5, seed=seed)
    for epoch in range(4):
        steps = batches.chunk(epoch * batches.steps_per_epoch, batches.steps_per_epoch)
        targets = steps[:, :, 1:].ravel()
        assert len(np.unique(targets)) == len(targets)
        # 8 tokens of phase and less than a window at the end, and less than a batch of windows.
        assert len(targets) > 1003 - 2 * 8 - 5 * 8


def test_epochs_have_their_own_orders_and_phases():
    batches = Batches(split_of([4096]), context=16, batch_size=4, seed=0)
    steps = batches.steps_per_epoch
    starts = [batches.starts(epoch * steps, steps).ravel() for epoch in range(8)]
    assert len({int(start[0] % 16) for start in starts}) > 3
    windows = [start // 16 for start in starts]
    assert all(not np.array_equal(windows[0], other) for other in windows[1:])


def test_seeds_have_orders_of_their_own():
    split = split_of([5000])
    firsts = {Batches(split, 8, 16, seed).at(0).tobytes() for seed in range(20)}
    assert len(firsts) == 20


def test_a_split_shorter_than_a_batch_is_named():
    assert Batches(split_of([80]), 16, 4, 0).steps_per_epoch == 1
    with pytest.raises(UserError, match=r"train split has 79 tokens, but .* 4 × 16 needs 80"):
        Batches(split_of([79]), 16, 4, 0)


@given(
    lengths=st.lists(st.integers(3, 400), min_size=1, max_size=30),
    context=st.integers(1, 40),
    tokens=st.integers(1, 5000),
)
@settings(deadline=None)
def test_evaluation_windows_keep_their_promises(lengths: list[int], context: int, tokens: int):
    split = split_of(lengths)
    windows = evaluation_windows(split, context, tokens)
    assert windows.tokens.shape == (len(windows.document), context + 1)
    assert (windows.tokens.dtype, windows.mask.dtype) == (np.int32, np.bool_)
    # A target's token is its position: no position twice, none a document's first.
    targets = windows.tokens[:, 1:][windows.mask]
    assert len(np.unique(targets)) == len(targets)
    assert not np.isin(targets, split.bounds[:-1]).any()
    # Inputs stand right before their targets, in the window's own document.
    inputs = windows.tokens[:, :-1][windows.mask]
    assert np.array_equal(inputs + 1, targets)
    owner = np.searchsorted(split.bounds, targets, side="right") - 1
    assert np.array_equal(owner, np.repeat(windows.document, windows.mask.sum(axis=1)))
    # Masks are runs from the left, and what they hide is 0.
    assert (np.diff(windows.mask.astype(int), axis=1) <= 0).all()
    assert (windows.tokens[:, 1:][~windows.mask] == 0).all()
    assert windows.mask.any(axis=1).all()
    total = sum(lengths) - len(lengths)
    if tokens >= total:
        assert len(targets) == total
    else:
        # At most one window for each document beyond what was wanted.
        assert len(windows.document) <= max(1, round(tokens / context)) + len(lengths)
    if tokens / context >= len(lengths):
        assert set(windows.document) == set(range(len(lengths)))


def test_evaluation_is_in_proportion_to_length():
    windows = evaluation_windows(split_of([10_001, 20_001, 70_001]), 10, 10_000)
    assert np.bincount(windows.document).tolist() == [100, 200, 700]
    assert windows.mask.all()
    # Spread over each document: the middles of equal parts.
    starts = windows.tokens[windows.document == 0, 0]
    assert (np.diff(starts) == 100).all()
    assert 40 <= starts[0] <= 50


def test_more_documents_than_windows_are_sampled_evenly():
    windows = evaluation_windows(split_of([21] * 100), 20, 200)
    assert windows.document.tolist() == list(range(5, 100, 10))


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
    cut=st.slices(54),
    data=st.data(),
)
def test_several_arrays_read_as_one(lengths: list[int], cut: slice, data: st.DataObject):
    ends = np.cumsum(lengths)
    whole = np.arange(ends[-1], dtype=np.uint16)
    tokens = ShardedTokens(np.split(whole, ends[:-1]))
    shapes = st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
    index = data.draw(st_numpy.arrays(np.int64, shapes, elements=st.integers(0, len(whole) - 1)))
    found = tokens[index]
    assert found.dtype == whole.dtype
    np.testing.assert_array_equal(found, whole[index])
    np.testing.assert_array_equal(tokens[cut], whole[cut])


@pytest.mark.parametrize("index", [-1, 7, [[0, 7]], [3, -2]])
def test_outside_of_several_arrays_is_an_error(index: object):
    tokens = ShardedTokens([np.arange(3), np.arange(4)])
    with pytest.raises(IndexError, match="out of range for 7 tokens"):
        tokens[index]


def test_marks_escapes_and_cut_characters_are_visible():
    vocabulary = ByteVocabulary()
    text = vocabulary.encode("tab\tand é\n")
    ids = np.concatenate([[0xA9], text, [vocabulary.eos, vocabulary.bos], text[:3], [0xC3]])
    assert readable(vocabulary, ids) == r"\xa9tab\tand é\n⟨eos⟩⟨bos⟩tab\xc3"


def test_every_row_is_the_batch_of_training_with_its_place(prepared: Prepared):
    dataset = prepared.dataset
    split, vocabulary = dataset.split("train"), dataset.vocabulary()
    heading, *rows = describe_batch(dataset, context=16, batch_size=8, seed=3, step=17)
    assert heading.startswith("step 17, seed 3: 8 rows of 16 + 1 tokens; epoch ")
    batch = Batches(split, 16, 8, seed=3).at(17)
    assert len(rows) == len(batch)
    names = split.document_names()
    for row, tokens in zip(rows, batch, strict=True):
        place, _, text = row.partition(': "')
        assert text == f'{readable(vocabulary, tokens)}"'
        name, _, offset = place.split(maxsplit=1)[1].rpartition(", token ")
        start = split.bounds[names.index(name)] + int(offset)
        assert split.tokens[start : start + 17].tolist() == tokens.tolist()
