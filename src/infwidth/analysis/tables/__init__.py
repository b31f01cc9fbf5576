# SPDX-License-Identifier: Apache-2.0
"""The tables: measurements in, .csv, .md and .tex out."""
