"""Measurements into figures; nothing here imports JAX."""
