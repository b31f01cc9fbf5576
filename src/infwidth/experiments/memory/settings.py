# SPDX-License-Identifier: Apache-2.0
"""Settings of the experiment that counts bytes: kernel form against dense form."""

from typing import Annotated

from pydantic import Field

from infwidth.config.section import Section, Width, each_once

Count = Annotated[int, Field(ge=1)]


class MemorySettings(Section):
    """Bytes that a transformer's MLPs keep, and that a step takes, over width and inputs seen.

    The model and the batch are those of `model` and `training`.
    """

    widths: list[Width] = Field(
        [256, 1024, 4096, 16_384, 65_536], min_length=2, description="Widths H of the dense form."
    )
    steps_seen: list[Count] = Field(
        [64, 256, 1024],
        min_length=2,
        description="Training steps after which the kernel form is measured; each shows every MLP "
        "training.batch_size · model.context inputs. Buffers may have room for more steps: they "
        "double when they are full.",
    )
    resident_width: Width | None = Field(
        16_384, description="Width at which a process's own memory is measured, too; null: none."
    )
    resident_steps: Count | None = Field(
        256, description="Steps seen at which it is measured; null: none."
    )

    _no_duplicates = each_once("widths", "steps_seen")
