# SPDX-License-Identifier: Apache-2.0
"""Batches as a pure function of (data, seed, step), and the windows that evaluation scores.

A batch can be shown as text, too.

Names carry shapes. B batch, T context, N windows, S steps; a window of T+1 tokens holds T inputs
and the T targets that follow them.
"""

from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from infwidth.config.errors import UserError

if TYPE_CHECKING:
    # Runs depend on what a batch is, not on how tokens were made.
    from infwidth.data.tokens import TokenDataset, TokenSplit
    from infwidth.data.vocabulary import Vocabulary

_ROUNDS = 6


class Batches:
    """Training batches: every epoch visits non-overlapping windows in an order of its own.

    An epoch cuts the split's tokens into windows from a random phase in [0, T), so that targets
    are met in new places of the context, and visits them in a pseudo-random order that takes no
    memory, however long the corpus; the fewer than B windows that fill no batch are left out. The
    seed chooses phases and orders.
    """

    def __init__(self, split: "TokenSplit", context: int, batch_size: int, seed: int):
        self._tokens = split.tokens
        self._context = context
        self._batch_size = batch_size
        self._seed = seed
        # Whatever the phase, that many windows fit.
        self.windows = max(0, (len(split.tokens) - context) // context)
        self.steps_per_epoch = self.windows // batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"the {split.name} split has {len(split.tokens)} tokens, but one batch of "
                f"{batch_size} × {context} needs {(batch_size + 1) * context}: use more text, or "
                "lower training.batch_size or model.context"
            )

    def of_seed(self, seed: int) -> "Batches":
        """Returns the batches of another seed, of the same tokens."""
        other = copy(self)
        other._seed = seed
        return other

    def at(self, step: int) -> np.ndarray:
        """Returns the batch of a step (0, 1, 2, ...), int32 [B, T+1]."""
        return self.chunk(step, 1)[0]

    def chunk(self, first_step: int, count: int) -> np.ndarray:
        """Returns the batches of `count` steps from one on, int32 [S, B, T+1]."""
        starts_SxB = self.starts(first_step, count)
        offsets_T1 = np.arange(self._context + 1)
        return self._tokens[starts_SxB[:, :, None] + offsets_T1[None, None, :]].astype(np.int32)

    def starts(self, first_step: int, count: int = 1) -> np.ndarray:
        """Returns where in the split the windows of consecutive steps start, int64 [S, B]."""
        starts = []
        step, end = first_step, first_step + count
        while step < end:
            epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
            steps = min(end - step, self.steps_per_epoch - step_in_epoch)
            starts.append(self._starts_in_epoch(epoch, step_in_epoch, steps))
            step += steps
        return np.concatenate(starts)

    def _starts_in_epoch(self, epoch: int, step: int, count: int) -> np.ndarray:
        order = Permutation(self.windows, key64(self._seed, epoch, 0))
        phase = int(key64(self._seed, epoch, 1)[0]) % self._context
        rows = np.arange(step * self._batch_size, (step + count) * self._batch_size)
        return (order(rows) * self._context + phase).reshape(count, self._batch_size)


class EvaluationWindows(NamedTuple):
    """What an evaluation scores."""

    tokens: np.ndarray
    """int32 [N, T+1]; ends of short windows are filled with 0."""
    mask: np.ndarray
    """bool [N, T]; which targets count."""
    document: np.ndarray
    """int32 [N]; whose tokens they are, by number in the split."""


def evaluation_windows(split: "TokenSplit", context: int, tokens: int) -> EvaluationWindows:
    """Chooses about `tokens` targets, spread evenly over the documents of a split.

    A document is cut into windows from its start; it gives a number of them in proportion to its
    length, one at least, evenly spaced. Only where there are more documents than windows to give,
    as many evenly spaced documents give one each. Windows are the same at each call; none crosses a
    document, no target counts twice.
    """
    targets_D = np.diff(split.bounds) - 1
    windows_D = -(-targets_D // context)
    quota_D = _quotas(targets_D, windows_D, tokens, context)
    document_N = np.repeat(np.arange(len(quota_D)), quota_D)
    first_N = np.repeat(np.cumsum(quota_D) - quota_D, quota_D)
    rank_N = np.arange(len(document_N)) - first_N
    # The middles of equal parts: distinct, since a document gives no more windows than it has.
    window_N = (2 * rank_N + 1) * windows_D[document_N] // (2 * quota_D[document_N])
    start_N = split.bounds[document_N] + window_N * context
    end_N = split.bounds[document_N + 1]
    position_NxT1 = start_N[:, None] + np.arange(context + 1)[None, :]
    inside_NxT1 = position_NxT1 < end_N[:, None]
    last_N = end_N - 1
    tokens_NxT1 = split.tokens[np.minimum(position_NxT1, last_N[:, None])].astype(np.int32)
    return EvaluationWindows(
        np.where(inside_NxT1, tokens_NxT1, np.int32(0)),
        inside_NxT1[:, 1:],
        document_N.astype(np.int32),
    )


def _quotas(targets_D: np.ndarray, windows_D: np.ndarray, tokens: int, context: int) -> np.ndarray:
    if tokens >= targets_D.sum():
        return windows_D
    wanted = max(1, round(tokens / context))
    documents = len(targets_D)
    if wanted < documents:
        quota_D = np.zeros(documents, np.int64)
        quota_D[(2 * np.arange(wanted) + 1) * documents // (2 * wanted)] = 1
        return quota_D
    share_D = targets_D * (tokens / targets_D.sum() / context)
    quota_D = np.clip(share_D.astype(np.int64), 1, windows_D)
    missing = max(0, wanted - int(quota_D.sum()))
    remainder_D = np.where(quota_D < windows_D, share_D - quota_D, -1.0)
    largest = np.argsort(-remainder_D, kind="stable")[:missing]
    quota_D[largest[remainder_D[largest] > 0]] += 1
    return quota_D


def mix64(value: np.ndarray) -> np.ndarray:
    """Scrambles uint64s, one to one; each bit depends on all bits of the input.

    It is the finaliser of SplitMix64 (Steele, Lea & Flood, 2014).
    """
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def key64(*words: int) -> np.ndarray:
    """Returns a key, uint64 of shape [1], made of integers, in which their order matters."""
    key = np.zeros(1, np.uint64)
    for word in words:
        key = mix64(key ^ mix64(np.asarray([word % 2**64], np.uint64)))
    return key


class Permutation:
    """A permutation of range(size), 0 < size < 2⁶², evaluated wherever it is asked for.

    A key of `key64` chooses it. A generalised Feistel cipher (Black & Rogaway, "Ciphers with
    arbitrary finite domains", 2002): arithmetic in place of an array of indices, the same on every
    platform and with every NumPy.
    """

    def __init__(self, size: int, key: np.ndarray):
        self.size = size
        half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        self._half_bits = np.uint64(half_bits)
        self._half_mask = np.uint64(2**half_bits - 1)
        self._round_keys = [mix64(key ^ np.uint64(i)) for i in range(_ROUNDS)]

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Maps indices in [0, size), of any shape, to their images, int64."""
        image = self._encipher(index.astype(np.uint64))
        # Walking the cycle until it is back in range keeps the map one to one; the cipher's domain
        # is at most four times as large, so this takes a few rounds.
        outside = image >= self.size
        while outside.any():
            image[outside] = self._encipher(image[outside])
            outside = image >= self.size
        return image.astype(np.int64)

    def _encipher(self, value: np.ndarray) -> np.ndarray:
        left, right = value >> self._half_bits, value & self._half_mask
        for round_key in self._round_keys:
            left, right = right, left ^ (mix64(right ^ round_key) & self._half_mask)
        return (left << self._half_bits) | right


def describe_batch(
    dataset: "TokenDataset",
    context: int,
    batch_size: int,
    seed: int,
    step: int,
    rows: int | None = None,
) -> Iterator[str]:
    """Describes the very batch that training sees: a heading, then a line for each row (or `rows`).

    A line has the row's number, the document and token where it starts, and its text in quotes.
    """
    split = dataset.split("train")
    batches = Batches(split, context, batch_size, seed)
    vocabulary = dataset.vocabulary()
    starts_B = batches.starts(step)[0]
    document_B = np.searchsorted(split.bounds, starts_B, side="right") - 1
    offset_B = starts_B - split.bounds[document_B]
    names = split.document_names()
    epoch, step_in_epoch = divmod(step, batches.steps_per_epoch)
    yield (
        f"step {step}, seed {seed}: {batch_size} rows of {context} + 1 tokens; epoch {epoch}, "
        f"step {step_in_epoch} of {batches.steps_per_epoch}"
    )
    for row, tokens in enumerate(batches.at(step)[:rows]):
        where = f"{names[document_B[row]]}, token {offset_B[row]}"
        yield f'{row:4d}  {where}: "{readable(vocabulary, tokens)}"'


def readable(vocabulary: "Vocabulary", ids: np.ndarray) -> str:
    r"""Writes tokens as one line of text.

    Documents' ends are ⟨bos⟩ and ⟨eos⟩, unprintable characters escapes, and bytes that are not
    UTF-8 (a window may cut a character) \xNN.
    """
    parts = []
    cuts = np.flatnonzero((ids == vocabulary.bos) | (ids == vocabulary.eos))
    for run in np.split(ids, cuts):
        if len(run) and run[0] in (vocabulary.bos, vocabulary.eos):
            parts.append("⟨bos⟩" if run[0] == vocabulary.bos else "⟨eos⟩")
        text = vocabulary.decode_bytes(run).decode(errors="backslashreplace")
        parts.append("".join(map(_printable, text)))
    return "".join(parts)


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
