# SPDX-License-Identifier: Apache-2.0
"""A training batch as text that a person can read."""

from collections.abc import Iterator

import numpy as np

from infwidth.data.batches import Batches
from infwidth.data.tokens import TokenDataset
from infwidth.data.vocabulary import Vocabulary

BOS_MARK, EOS_MARK = "⟨bos⟩", "⟨eos⟩"


def describe_batch(
    dataset: TokenDataset,
    context: int,
    batch_size: int,
    seed: int,
    step: int,
    rows: int | None = None,
) -> Iterator[str]:
    """Describes the very batch that training sees, one line a row.

    Args:
        dataset: the tokens.
        context: T; a row has T+1 tokens, the last of which is a target only.
        batch_size: B.
        seed: the run's seed.
        step: from 0.
        rows: describe only that many rows.

    Yields:
        A heading, then for each row its number, the document and token where it starts, and its
        text in quotes, as `readable` shows it.

    Raises:
        UserError: the split is shorter than one batch, or the tokens are damaged.
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


def readable(vocabulary: Vocabulary, ids: np.ndarray) -> str:
    r"""Writes tokens as one line of text.

    Args:
        vocabulary: what the ids are of.
        ids: tokens, any number.

    Returns:
        The text; documents' ends as ⟨bos⟩ and ⟨eos⟩, unprintable characters as escapes, bytes that
        are not UTF-8 (a window may cut a character) as \xNN.
    """
    parts = []
    cuts = np.flatnonzero((ids == vocabulary.bos) | (ids == vocabulary.eos))
    for run in np.split(ids, cuts):
        if len(run) and run[0] in (vocabulary.bos, vocabulary.eos):
            parts.append(BOS_MARK if run[0] == vocabulary.bos else EOS_MARK)
        text = vocabulary.decode_bytes(run).decode(errors="backslashreplace")
        parts.append("".join(map(_printable, text)))
    return "".join(parts)


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
