# SPDX-License-Identifier: Apache-2.0
"""The artifact as a whole: its plan, its comparison, its bundle."""
