# SPDX-License-Identifier: Apache-2.0
"""Training: the step, the loop, checkpoints and run records."""
