# SPDX-License-Identifier: Apache-2.0
"""The ladder: what the claims become as training goes on, up to the paper's 40,000 steps."""
