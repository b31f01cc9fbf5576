# SPDX-License-Identifier: Apache-2.0
"""Whether this machine's devices compute what they should, and how fast: `infwidth doctor`."""
