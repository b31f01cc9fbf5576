# SPDX-License-Identifier: Apache-2.0
"""Measurements into figures; nothing here imports JAX."""
