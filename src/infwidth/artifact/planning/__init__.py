# SPDX-License-Identifier: Apache-2.0
"""What a configuration costs, and what of it is done already, before anything runs (no JAX)."""
