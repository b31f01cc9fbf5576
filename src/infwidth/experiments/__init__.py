"""Experiments: from settings to a table of measurements, one module each."""
