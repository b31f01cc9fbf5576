# SPDX-License-Identifier: Apache-2.0
"""What a librarian and a machine ask of the artifact: citation files, RO-Crate, SBOM."""
