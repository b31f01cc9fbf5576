# SPDX-License-Identifier: Apache-2.0
"""Train, validation and test by document, with copies and near-copies kept on one side."""

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data.batches import mix64
from infwidth.data.documents import Document

SPLITS = ("train", "validation", "test")
# Two documents are near-copies if they share a tenth of the smaller one's 64-byte windows.
NEAR_COPY = 0.1
_WINDOW = 64
_FEWEST_SHARED = 4
_MOST_WINDOWS = 2**23
_BLOCK = 2**20


class Split(NamedTuple):
    """Which document is where, by name."""

    names: dict[str, list[str]]
    """Each split's, in the corpus's order."""
    copies: list[list[str]]
    """Groups whose texts are the same byte by byte."""
    near_copies: list[tuple[str, str, float]]
    """Pairs, and the shared part of the smaller one, largest first."""
    empty: int
    """How many have no text, and so are in no split."""


def split_documents(documents: Iterable[Document], settings: DataSettings) -> Split:
    """Splits documents, never parting those of a series, copies or near-copies.

    Groups are taken in an order that depends on `split_seed` and names alone; each goes to the
    test split while it fits into its share of the documents, else to validation, else to training.
    Each split has at least one document.
    """
    # Here alone, since whoever asks for the splits' names would wait for it.
    from scipy.cluster.hierarchy import DisjointSet

    names: list[str] = []
    groups = DisjointSet()
    windows = _Windows()
    first_of_series: dict[str, int] = {}
    of_text: dict[bytes, list[int]] = {}
    empty = 0
    for document in documents:
        if not document.text.strip():
            empty += 1
            continue
        index = len(names)
        groups.add(index)
        names.append(document.name)
        if document.series:
            groups.merge(index, first_of_series.setdefault(document.series, index))
        copies = of_text.setdefault(hashlib.sha256(document.text).digest(), [])
        if copies:
            groups.merge(index, copies[0])
        else:
            windows.add(index, document.text)
        copies.append(index)
    near_copies = windows.pairs()
    for one, other, _ in near_copies:
        groups.merge(one, other)
    parts = _fill(groups.subsets(), names, settings)
    return Split(
        {split: [names[index] for index in sorted(parts[split])] for split in SPLITS},
        [[names[index] for index in copies] for copies in of_text.values() if len(copies) > 1],
        [(names[one], names[other], round(share, 3)) for one, other, share in near_copies],
        empty,
    )


def _fill(groups: list[set[int]], names: list[str], settings: DataSettings) -> dict[str, list[int]]:
    if len(groups) < 3:
        raise UserError(
            f"the corpus has {len(names)} documents in {len(groups)} groups of like ones, and a "
            "split by document needs 3: add files, or cut long ones up (rows of a .jsonl)"
        )

    def order(group: set[int]) -> bytes:
        return hashlib.sha256(f"{settings.split_seed}/{names[min(group)]}".encode()).digest()

    room = {
        "test": max(1, int(settings.test_fraction * len(names))),
        "validation": max(1, int(settings.validation_fraction * len(names))),
        "train": len(names),
    }
    chosen: dict[str, list[set[int]]] = {split: [] for split in room}
    for group in sorted(groups, key=order):
        split = next(split for split in room if len(group) <= room[split])
        room[split] -= len(group)
        chosen[split].append(group)
    for split in room:
        if not chosen[split]:
            donor = max(chosen.values(), key=len)
            smallest = min(donor, key=len)
            donor.remove(smallest)
            chosen[split].append(smallest)
    return {split: [index for group in chosen[split] for index in group] for split in SPLITS}


class _Windows:
    """Hashes of the windows of all documents, thinned alike in each so that they stay few."""

    def __init__(self) -> None:
        self._of: dict[int, np.ndarray] = {}
        self._count = 0
        self._below = np.uint64(2**62)

    def add(self, index: int, text: bytes) -> None:
        plain = b" ".join(text.lower().split())
        blocks = [
            self._thin(_window_hashes(plain[start : start + _BLOCK + _WINDOW - 1]))
            for start in range(0, max(len(plain) - _WINDOW + 1, 0), _BLOCK)
        ]
        if blocks:
            self._of[index] = np.unique(np.concatenate(blocks))
            self._count += len(self._of[index])
        while self._count > _MOST_WINDOWS:
            self._below >>= np.uint64(1)
            self._of = {index: self._thin(hashes) for index, hashes in self._of.items()}
            self._count = sum(map(len, self._of.values()))

    def pairs(self) -> list[tuple[int, int, float]]:
        """Returns (document, later document, shared part of the smaller), largest first."""
        if not self._of:
            return []
        documents = np.fromiter(self._of, np.int64)
        sizes = np.asarray([len(hashes) for hashes in self._of.values()], np.int64)
        owner = np.repeat(np.arange(len(documents)), sizes)
        hashes = np.concatenate(list(self._of.values()))
        order = np.lexsort((owner, hashes))
        owner, hashes = owner[order], hashes[order]
        # Each occurrence meets the next eight: every pair of up to nine documents, and beyond that
        # a chain, so that a phrase that all documents share costs no quadratic time.
        codes = [
            owner[:-shift][hashes[:-shift] == hashes[shift:]] * len(documents)
            + owner[shift:][hashes[:-shift] == hashes[shift:]]
            for shift in range(1, min(9, len(hashes)))
        ]
        pairs, shared = np.unique(np.concatenate([*codes, owner[:0]]), return_counts=True)
        one, other = np.divmod(pairs, len(documents))
        share = shared / np.minimum(sizes[one], sizes[other])
        near = (share >= NEAR_COPY) & (shared >= _FEWEST_SHARED)
        found: list[Any] = [documents[one[near]], documents[other[near]], share[near]]
        ranked = np.lexsort((found[1], found[0], -found[2]))
        return list(zip(*(column[ranked].tolist() for column in found), strict=True))

    def _thin(self, hashes: np.ndarray) -> np.ndarray:
        return hashes[hashes < self._below]


def _window_hashes(text: bytes) -> np.ndarray:
    # h₂ₖ[i] = hₖ[i] Pᵏ + hₖ[i + k]: a polynomial in each window, six doublings for 64 bytes.
    value = mix64(np.frombuffer(text, np.uint8).astype(np.uint64))
    power = np.asarray([0x9E3779B97F4A7C15], np.uint64)
    length = 1
    while length < _WINDOW:
        value = value[:-length] * power + value[length:]
        power = power * power
        length *= 2
    return mix64(value)
