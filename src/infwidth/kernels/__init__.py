# SPDX-License-Identifier: Apache-2.0
"""Kernels of infinitely wide layers and networks: exact, differentiable, in JAX.

All take x: [n, D] and y: [m, D] and return [n, m]. `support_report` is no kernel: it says which
direction a sample of features leaves out.
"""

from infwidth.kernels.deep import nngp_kernel, ntk_kernel
from infwidth.kernels.monte_carlo import monte_carlo_kernel
from infwidth.kernels.normalized import normalized_relu_kernel, shifted_relu_kernel
from infwidth.kernels.single_layer import erf_kernel, gelu_kernel, relu_kernel
from infwidth.kernels.support import SupportReport, support_report

__all__ = [
    "SupportReport",
    "erf_kernel",
    "gelu_kernel",
    "monte_carlo_kernel",
    "nngp_kernel",
    "normalized_relu_kernel",
    "ntk_kernel",
    "relu_kernel",
    "shifted_relu_kernel",
    "support_report",
]
