"""Whether this machine's devices compute what they should, and how fast: `infwidth doctor`."""
