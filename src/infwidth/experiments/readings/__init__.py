# SPDX-License-Identifier: Apache-2.0
"""Readings: every candidate for ADAM* under every choice that the paper's summary leaves open."""
