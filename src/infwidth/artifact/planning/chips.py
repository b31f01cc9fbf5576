# SPDX-License-Identifier: Apache-2.0
"""The chips that device-hours are given for: peaks and memory, from their makers' data sheets.

Peaks are of dense matrix products (no sparsity) with sums in float32. Boost clocks, and products
that are too small or wait for memory, are why no run reaches them: the utilisation says how much.
"""

from typing import NamedTuple

DEFAULT_UTILISATION = 0.4
"""Share of the peak that large products reach in practice."""


class Chip(NamedTuple):
    """One kind of device, with peaks in TFLOP/s; None where it has no such unit.

    Attributes:
      float32: at full precision; None, too, where the maker names none.
      tf32: with factors rounded to TF32, which GPUs call float32 by default in JAX.
      memory: of one device, in 10⁹ bytes; None where it is shared with others.
    """

    name: str
    bfloat16: float | None
    float32: float | None
    tf32: float | None
    memory: int | None
    source: str

    @property
    def platform(self) -> str:
        """As JAX names it."""
        return "tpu" if self.name.startswith("TPU") else "cpu" if self.memory is None else "gpu"


CHIPS: tuple[Chip, ...] = (
    Chip("H100 SXM", 989.4, 66.9, 494.7, 80, "NVIDIA H100 Tensor Core GPU Architecture, table 2"),
    Chip("A100 SXM 80GB", 312.0, 19.5, 156.0, 80, "NVIDIA A100 Tensor Core GPU data sheet"),
    Chip(
        "L4", 121.0, 30.3, 60.0, 24, "NVIDIA L4 Tensor Core GPU data sheet, half its sparse peaks"
    ),
    Chip("TPU v4", 275.0, None, None, 32, "Google Cloud TPU documentation, v4"),
    Chip("TPU v5e", 197.0, None, None, 16, "Google Cloud TPU documentation, v5e"),
    Chip("TPU v5p", 459.0, None, None, 95, "Google Cloud TPU documentation, v5p"),
    Chip("one CPU core", None, 0.192, None, None, "2 fused multiply-adds of 16 floats, 3 GHz"),
)
"""Google names no float32 peak: a TPU's unit multiplies bfloat16, several times for a float32.

The core is an x86 server's with two AVX-512 units.
"""
