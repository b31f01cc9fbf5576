# SPDX-License-Identifier: Apache-2.0
"""Typed settings; no work is done here."""
