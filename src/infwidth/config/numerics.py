# SPDX-License-Identifier: Apache-2.0
"""Settings of how finite models are computed: precision, attention, what is kept in memory."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from infwidth.config.section import Section


class NumericsSettings(Section):
    """How models of finite width are computed; those of infinite width always as the defaults say.

    Parameters, optimizer, residual stream, norms, softmax and loss are float32 in any case. On GPUs
    and TPUs JAX may round the factors of a float32 product (to TF32 or bfloat16).
    """

    compute_dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="What the factors of matrix products are rounded to; the products are summed "
        "in float32.",
    )
    attention: Literal["auto", "plain", "xla", "cudnn"] = Field(
        "auto",
        description="`plain`: our own, float32 only; `xla`, `cudnn`: JAX's dot_product_attention; "
        "`auto`: plain on a CPU in float32, cudnn (flash attention) on NVIDIA GPUs in bfloat16 "
        "where it can, else xla.",
    )
    rematerialize: bool = Field(
        False,
        description="Keep only the input of each block, and compute the block again in the "
        "backward pass: less memory, a third more work in the blocks. Saves nothing on a CPU, "
        "whose compiler merges what is computed twice.",
    )
    loss_block: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Tokens whose logits exist at a time; null: all up to 2^24 logits on a CPU "
        "(2^27 elsewhere), and beyond that blocks of this size.",
    )

    @model_validator(mode="after")
    def _attention_knows_the_type(self) -> "NumericsSettings":
        needed = {"plain": "float32", "cudnn": "bfloat16"}.get(self.attention, self.compute_dtype)
        if needed != self.compute_dtype:
            raise ValueError(f"attention '{self.attention}' needs compute_dtype '{needed}'")
        return self
