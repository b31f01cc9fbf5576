# SPDX-License-Identifier: Apache-2.0
"""An experiment; infwidth.experiments.registry says which."""
