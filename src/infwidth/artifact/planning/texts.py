# SPDX-License-Identifier: Apache-2.0
"""What is known of the tokens before a run: from their manifest, else from the settings."""

from pathlib import Path
from typing import NamedTuple

from infwidth.config.settings import DataSettings, Settings
from infwidth.data.files import MANIFEST
from infwidth.layout import Layout
from infwidth.stored import read_json

BYTE_VOCABULARY = 258
"""Size of the vocabulary of bytes: they, BOS and EOS."""
_RULE = "infwidth data tokenize"


class Text(NamedTuple):
    """The text in one vocabulary.

    Attributes:
      digest: of its tokens; None where they are not there yet.
      vocabulary_size: V.
      tokens: of each split; None where they are not there yet.
      stored: bytes on disk, or what one epoch of the longest run takes where it is not there yet.
    """

    digest: str | None
    vocabulary_size: int
    tokens: dict[str, int] | None
    stored: int


def read_texts(settings: Settings, layout: Layout) -> tuple[Text, Text]:
    """The text in the configured vocabulary, and in the other one.

    Raises:
      UserError: a manifest is damaged.
    """
    longest = max(
        run.steps * run.batch_size * settings.model.context
        for run in (settings.training, settings.infinite_lm)
    )
    own = settings.data
    other = {"bytes": "sentencepiece", "sentencepiece": "bytes"}[own.vocabulary]
    return (
        _read(layout.tokens, own, longest),
        _read(layout.other_tokens, own.model_copy(update={"vocabulary": other}), longest),
    )


def _read(folder: Path, data: DataSettings, longest: int) -> Text:
    size = BYTE_VOCABULARY if data.vocabulary == "bytes" else data.vocabulary_size
    if not (folder / MANIFEST).exists():
        return Text(None, size, None, longest * _token_bytes(size))
    needed = ("files", "digest", "vocabulary")
    manifest = read_json(folder / MANIFEST, _RULE, needed)
    stored = sum(file["bytes"] for file in manifest["files"].values())
    return Text(manifest["digest"], manifest["vocabulary"]["size"], manifest.get("tokens"), stored)


def _token_bytes(vocabulary_size: int) -> int:
    return 2 if vocabulary_size <= 2**16 else 4
