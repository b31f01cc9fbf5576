# SPDX-License-Identifier: Apache-2.0
"""Infinite-width models that work: ADAM*, kernels, and the experiments of arXiv 2406.18800."""

__version__ = "0.1.0"
