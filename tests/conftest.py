# SPDX-License-Identifier: Apache-2.0
"""JAX is held to the letter in every test: no silent change of rank or type."""

import os

os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("JAX_NUMPY_DTYPE_PROMOTION", "strict")
# Workers run side by side, one thread each.
os.environ.setdefault("NPROC", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
