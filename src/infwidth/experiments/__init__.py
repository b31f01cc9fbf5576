# SPDX-License-Identifier: Apache-2.0
"""Experiments: from settings to a table of measurements, one module each."""
