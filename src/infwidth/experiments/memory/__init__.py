# SPDX-License-Identifier: Apache-2.0
"""A room: see infwidth.experiments.registry."""
