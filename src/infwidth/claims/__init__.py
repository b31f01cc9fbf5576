# SPDX-License-Identifier: Apache-2.0
"""What is claimed, judged by rules that stand beforehand (without JAX)."""
