# SPDX-License-Identifier: Apache-2.0
"""Effects with their errors, tests and rules of verdicts (without JAX)."""
