# SPDX-License-Identifier: Apache-2.0
"""Depth: the paper's own 6 layers and 40,000 steps, over widths."""
