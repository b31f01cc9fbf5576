# SPDX-License-Identifier: Apache-2.0
"""Settings of the corpus C4."""

from typing import Annotated, Literal

from pydantic import Field

from infwidth.config.section import Section

C4Config = Literal["en", "en.noblocklist", "en.noclean", "realnewslike"]


class C4Settings(Section):
    """C4 (corpus `c4` only): json.gz shards as allenai/c4 has them, or a prepared TFDS folder."""

    config: C4Config = Field("en", description="Which of C4's configurations.")
    train_shards: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Training shards to read, from the first; null: as many as it takes until the "
        "largest run reads no token twice.",
    )
    vocabulary_documents: Annotated[int, Field(ge=1)] = Field(
        50_000,
        description="Documents, the first of the training shards, that a SentencePiece model is "
        "trained on.",
    )
