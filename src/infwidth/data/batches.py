# SPDX-License-Identifier: Apache-2.0
"""Batches as a pure function of (data, seed, step), and the windows that evaluation scores.

Names carry shapes. B batch, T context, N windows, S steps; a window of T+1 tokens holds T inputs
and the T targets that follow them.
"""

from copy import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from infwidth.config.errors import UserError
from infwidth.data.permutation import Permutation, key64

if TYPE_CHECKING:
    # Runs depend on what a batch is, not on how tokens were made.
    from infwidth.data.tokens import TokenSplit


class Batches:
    """Training batches: every epoch visits non-overlapping windows in an order of its own.

    An epoch cuts the split's tokens into windows from a random phase in [0, T), so that targets
    are met in new places of the context, and visits them in a pseudo-random order that takes no
    memory, however long the corpus; the fewer than B windows that fill no batch are left out.

    Args:
        split: the tokens.
        context: T.
        batch_size: B.
        seed: chooses phases and orders.

    Raises:
        UserError: the split is shorter than one batch.
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
        """Returns the batches of consecutive steps.

        Args:
            first_step: the first, from 0.
            count: how many, S.

        Returns:
            int32 [S, B, T+1]; rows of one step are distinct windows.
        """
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
    """What an evaluation scores.

    Attributes:
        tokens: int32 [N, T+1]; ends of short windows are filled with 0.
        mask: bool [N, T]; which targets count.
        document: int32 [N]; whose tokens they are, by number in the split.
    """

    tokens: np.ndarray
    mask: np.ndarray
    document: np.ndarray


def evaluation_windows(split: "TokenSplit", context: int, tokens: int) -> EvaluationWindows:
    """Chooses about `tokens` targets, spread evenly over the documents of a split.

    A document is cut into windows from its start; it gives a number of them in proportion to its
    length, one at least, evenly spaced. Only where there are more documents than windows to give,
    as many evenly spaced documents give one each.

    Args:
        split: the tokens.
        context: T.
        tokens: targets wanted; all of the split if it has no more.

    Returns:
        The windows, the same at each call; none crosses a document, no target counts twice.
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
