# SPDX-License-Identifier: Apache-2.0
"""Measurements into statistics, choices, verdicts and tables; nothing here imports JAX."""
