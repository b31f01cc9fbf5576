# SPDX-License-Identifier: Apache-2.0
"""The settings of the devices that share one training run."""

from typing import Annotated

from pydantic import Field

from infwidth.config.section import Section

_Devices = Annotated[int, Field(ge=1)]


class MeshSettings(Section):
    """The data × fsdp × width devices that share a run; its numbers differ by rounding only."""

    data: _Devices = Field(
        1,
        description="Into how many parts a batch is split, on devices that hold all parameters.",
    )
    fsdp: _Devices = Field(
        1,
        description="Into how many parts each of these is split again, on devices that share the "
        "storage of parameters and optimizer state.",
    )
    width: _Devices = Field(
        1, description="Into how many parts features and readout are split along H."
    )

    @property
    def devices(self) -> int:
        """How many devices a run takes."""
        return self.data * self.fsdp * self.width

    @property
    def batch_parts(self) -> int:
        """In how many parts a batch is split; must divide it."""
        return self.data * self.fsdp
