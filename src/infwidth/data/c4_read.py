# SPDX-License-Identifier: Apache-2.0
"""One shard of C4 as a stream of documents: only the row at hand is in memory."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

from isal import igzip

from infwidth.config.errors import UserError
from infwidth.data.c4_files import C4Files, C4Shard
from infwidth.data.documents import UNPACKING_ERRORS, row_text


def read_shard(
    shard: C4Shard, form: Literal["json", "tfds"], text_key: str
) -> Iterator[tuple[int, str]]:
    """Reads the documents of a shard in order.

    Args:
        shard: the file.
        form: what kind of file.
        text_key: the key of the text in a row (json).

    Yields:
        (row, text): the line's number from 1 (json) or the record's from 0 (TFDS), and the text.

    Raises:
        UserError: the shard is damaged; it names the file and the place.
    """
    if form == "json":
        yield from _json_rows(shard, text_key)
    else:
        yield from _tfds_rows(shard)


def first_documents(files: C4Files, text_key: str, count: int) -> Iterator[str]:
    """Gives the first documents of the training shards, the sample that a vocabulary learns from.

    C4 is shuffled, so they are as good as drawn at random; none is held out.

    Args:
        files: the shards.
        text_key: the key of the text in a row (json).
        count: how many, or all if there are fewer.

    Yields:
        Texts.
    """
    rows = (row for shard in files.train for row in read_shard(shard, files.form, text_key))
    for _, text in islice(rows, count):
        yield text


def _json_rows(shard: C4Shard, text_key: str) -> Iterator[tuple[int, str]]:
    with shard.path.open("rb") as raw, igzip.IGzipFile(fileobj=raw) as file:
        name, row, offset = str(shard.path), 0, 0
        while True:
            try:
                line = file.readline()
            except UNPACKING_ERRORS as error:
                raise UserError(
                    f"{shard.path} is damaged at or before byte {raw.tell()} of {shard.bytes}, "
                    f"after row {row} ({error}): download it again"
                ) from None
            if not line:
                break
            row += 1
            if line.strip():
                yield row, row_text(line, text_key, f"{name}:{row} (unpacked byte {offset})")
            offset += len(line)
        if not row:
            raise UserError(f"{shard.path} holds no row: download it again")


def _tfds_rows(shard: C4Shard) -> Iterator[tuple[int, str]]:
    import tensorflow_datasets as tfds

    part = f"{shard.split}[{shard.first}:{shard.first + shard.records}]"
    record = 0
    try:
        records: Any = tfds.builder_from_directory(str(shard.path.parent)).as_data_source(part)
        for record in range(shard.records):
            yield record, records[record]["text"].decode()
    except (RuntimeError, ValueError, IndexError) as error:
        raise UserError(
            f"{shard.path} is damaged at record {record} of {shard.records} "
            f"({' '.join(str(error).split())[:80]}): restore it"
        ) from None
