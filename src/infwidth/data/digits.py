# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's handwritten digits: 1,797 images of 8 × 8 pixels, in the installed package.

Shapes: A images, D = 64 pixels.
"""

from typing import NamedTuple

import numpy as np

from infwidth.config.errors import UserError


class Digits(NamedTuple):
    """All images, in the order of the file."""

    x_AxD: np.ndarray
    """Grey values 0 to 16, float64."""
    label_A: np.ndarray
    """Classes 0 to 9, int32."""


def load_digits() -> Digits:
    """Reads the digits from the installed scikit-learn; nothing is downloaded.

    References:
      E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    try:
        from sklearn import datasets
    except ImportError:
        raise UserError(
            "the digits come with scikit-learn, which is not installed: run `make env`"
        ) from None
    images = datasets.load_digits()
    return Digits(images.data.astype(np.float64), images.target.astype(np.int32))
