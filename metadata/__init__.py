"""What a librarian and a machine ask of the artifact: citation files, RO-Crate, SBOM."""
