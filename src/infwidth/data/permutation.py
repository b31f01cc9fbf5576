# SPDX-License-Identifier: Apache-2.0
"""A keyed permutation of range(n), evaluated wherever it is asked for.

A generalised Feistel cipher (Black & Rogaway, "Ciphers with arbitrary finite domains", 2002):
arithmetic in place of an array of n indices, the same on every platform and with every NumPy. The
round function is the finaliser of SplitMix64 (Steele, Lea & Flood, 2014).
"""

import numpy as np

_ROUNDS = 6


def mix64(value: np.ndarray) -> np.ndarray:
    """Scrambles unsigned 64-bit integers, one to one.

    Args:
        value: uint64, any shape.

    Returns:
        uint64 of the same shape, in which each bit depends on all bits of the input.
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
    """A pseudo-random permutation of range(size).

    Args:
        size: number of elements, 1 or more, below 2⁶².
        key: what chooses the permutation, from `key64`.
    """

    def __init__(self, size: int, key: np.ndarray):
        self.size = size
        half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        self._half_bits = np.uint64(half_bits)
        self._half_mask = np.uint64(2**half_bits - 1)
        self._round_keys = [mix64(key ^ np.uint64(i)) for i in range(_ROUNDS)]

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Maps indices to their images.

        Args:
            index: integers in [0, size), any shape.

        Returns:
            int64 of the same shape; distinct indices have distinct images in [0, size).
        """
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
