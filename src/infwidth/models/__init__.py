# SPDX-License-Identifier: Apache-2.0
"""Models: the decoder-only transformer; features and readout are variable types of their own."""
