"""Measurements into statistics, choices, verdicts and tables; nothing here imports JAX."""
