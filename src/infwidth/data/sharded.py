# SPDX-License-Identifier: Apache-2.0
"""Several arrays on disk that read as one: the tokens of a split that was made shard by shard.

`Batches` and `evaluation_windows` see no difference, so a batch is the same pure function of
(tokens, seed, step) whether they lie in one file or in many.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from infwidth.data.listed import CheckedTokens, Listed
from infwidth.data.tokens import TokenDataset, TokenSplit


class ShardedTokens:
    """Memory-mapped arrays of one axis and one dtype, end to end."""

    def __init__(self, parts: Sequence[CheckedTokens]):
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self.dtype = parts[0].dtype
        self.shape = (int(self._starts[-1]),)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Reads some tokens, by integers in [0, len) of any shape or a slice."""
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index)
        if not index.size:
            return np.empty(index.shape, self.dtype)
        if index.min() < 0 or index.max() >= len(self):
            raise IndexError(f"index out of range for {len(self)} tokens")
        # Rows that lie in one part, as nearly all windows do, are read from it as they stand.
        rows = index.reshape(-1, index.shape[-1] if index.ndim else 1)
        first, last = self._part(rows.min(axis=1)), self._part(rows.max(axis=1))
        result = np.empty(rows.shape, self.dtype)
        for number in range(int(first.min()), int(last.max()) + 1):
            within = np.flatnonzero((first == number) & (last == number))
            if len(within):
                result[within] = self._read(number, rows[within])
            across = np.flatnonzero((first <= number) & (number <= last) & (first < last))
            if len(across):
                here = self._part(rows[across]) == number
                found = result[across]
                found[here] = self._read(number, rows[across][here])
                result[across] = found
        return result.reshape(index.shape)

    def _part(self, index: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._starts, index, side="right") - 1

    def _read(self, number: int, index: np.ndarray) -> np.ndarray:
        return self._parts[number][index - self._starts[number]]


class ShardedNames(Sequence[str]):
    """Names of documents, each its file's name and its row there, made as they are asked for."""

    def __init__(self, files: Sequence[str], rows: Sequence[np.ndarray]):
        self._files = files
        self._rows = rows
        self._starts = np.cumsum([0, *map(len, rows)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if isinstance(index, slice):
            raise TypeError("names are had one by one, or all by list(...)")
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return f"{self._files[shard]}:{self._rows[shard][index - self._starts[shard]]}"


class ShardedSplit(TokenSplit):
    """A split whose tokens lie in several files; `names_path` is the manifest that lists them."""

    __slots__ = ()

    def document_names(self) -> Sequence[str]:
        """Returns the names of the documents, in order."""
        dataset = TokenDataset.open(self.names_path.parent)
        shards = dataset.manifest["shards"][self.name]
        rows = [dataset.listed.array(f"{s['folder']}/{self.name}.rows.npy") for s in shards]
        return ShardedNames([shard["file"] for shard in shards], rows)


def open_sharded_split(listed: Listed, name: str, shards: Sequence[dict[str, str]]) -> ShardedSplit:
    """Opens the shards of one split as one; the manifest says each one's `folder` and `file`.

    Tokens are memory-mapped; document bounds are in memory, 8 bytes a document.
    """
    places = [shard["folder"] for shard in shards]
    tokens = ShardedTokens([listed.tokens(f"{place}/{name}.tokens.npy") for place in places])
    lengths = [np.diff(listed.array(f"{place}/{name}.bounds.npy")) for place in places]
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return ShardedSplit(name, cast("np.ndarray", tokens), bounds, listed.manifest)
