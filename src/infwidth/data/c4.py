# SPDX-License-Identifier: Apache-2.0
"""C4's shards on disk: json.gz files as allenai/c4 has them, or a prepared TFDS `c4` folder.

Nothing is downloaded. To plan, no shard is read: the names, their sizes and TFDS's own description
say all that is needed. A catalogue of names and sizes stands where another corpus's manifest
stands, so that a file that has changed since is noticed and named, not read.
"""

import json
import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from isal import igzip

from infwidth.config.errors import UserError
from infwidth.config.section import C4Config
from infwidth.config.settings import DataSettings, Settings
from infwidth.data.documents import UNPACKING_ERRORS, row_text
from infwidth.data.files import MANIFEST, json_digest, replacing_folder
from infwidth.stored import read_json, write_json

TFDS_VERSION = "3.0.1"
RULE = "infwidth data corpus"
KIND = "c4"
_JSON_NAME = re.compile(r"c4-(train|validation)\.(\d{5})-of-(\d{5})\.json\.gz")
# By configuration, from allenai/c4: shards of training and validation, bytes of all.
_PUBLISHED: dict[C4Config, tuple[int, int, float]] = {
    "en": (1024, 8, 326.8e9),
    "en.noblocklist": (1024, 8, 406.6e9),
    "en.noclean": (7168, 64, 2430.4e9),
    "realnewslike": (512, 1, 15.4e9),
}
# Of `en`: 2.53 bytes unpacked for one in the file, of which a twentieth is url and timestamp.
_TEXT_PER_COMPRESSED_BYTE = 2.4
_TEXT_PER_TFDS_BYTE = 0.95


class C4Shard(NamedTuple):
    """One file of C4, by its number in C4's own split, `train` or `validation`."""

    split: str
    number: int
    path: Path
    bytes: int
    text_bytes: float
    """About how much text it holds."""
    first: int = 0
    """TFDS only: the number of its first record in the split."""
    records: int = 0
    """TFDS only: how many it has."""

    @property
    def name(self) -> str:
        """As in train-00003, which names what is made of it."""
        return f"{self.split}-{self.number:05d}"


class C4Files(NamedTuple):
    """All shards in a folder, in order; `tfds` is a prepared folder of array_record files."""

    form: Literal["json", "tfds"]
    folder: Path
    train: list[C4Shard]
    validation: list[C4Shard]

    @property
    def named(self) -> dict[str, C4Shard]:
        """The shards by name."""
        return {shard.name: shard for shard in [*self.train, *self.validation]}


def token_budget(settings: Settings) -> int:
    """The tokens of training text from which the largest run can be fed without a repeat.

    Batches are windows of `context` tokens at a random phase, of which each counts once an epoch:
    steps × batch windows, and one more for the phase.
    """
    training, infinite = settings.training, settings.infinite_lm
    sequences = max(training.steps * training.batch_size, infinite.steps * infinite.batch_size)
    return (sequences + 1) * settings.model.context


def find_shards(data: DataSettings, budget: int | None = None) -> C4Files:
    """Finds the shards in the folder that the settings name, or below it.

    If there are none, the error says what to download, which is estimated from a budget of tokens.
    """
    root = Path(data.path or "")
    names = ("", data.c4.config, TFDS_VERSION, f"{data.c4.config}/{TFDS_VERSION}")
    for folder in (root / name for name in (*names, f"c4/{data.c4.config}/{TFDS_VERSION}")):
        if (folder / "dataset_info.json").is_file():
            files = _tfds_files(folder, data)
        elif folder.is_dir() and (found := _json_files(folder)):
            files = found
        else:
            continue
        if not (files.train and files.validation):
            missing = "validation" if files.train else "train"
            raise UserError(
                f"data.path: {folder} has no {missing} shards of C4. {_advice(data, budget)}"
            )
        _check_complete(files.train)
        _check_complete(files.validation)
        return files
    raise UserError(f"data.path: no C4 in {root.absolute()}. {_advice(data, budget)}")


def planned_shards(files: C4Files, data: DataSettings, budget: int) -> list[C4Shard]:
    """The first training shards: as many as the settings say, or about enough for the budget.

    The estimate rests on sizes; if it falls short, `tokenize` goes on with those that follow.
    """
    if data.c4.train_shards is not None:
        if data.c4.train_shards > len(files.train):
            raise UserError(
                f"data.c4.train_shards is {data.c4.train_shards}, but {files.folder} has "
                f"{len(files.train)} training shards: download more, or lower it"
            )
        return files.train[: data.c4.train_shards]
    missing = budget * _bytes_per_token(data)
    planned = []
    for shard in files.train:
        planned.append(shard)
        missing -= shard.text_bytes
        if missing <= 0:
            break
    return planned


def _bytes_per_token(data: DataSettings) -> float:
    if data.vocabulary == "bytes":
        return 1.0
    # English text: 2.06 at 512 pieces, some 4.3 at 32,000.
    return 2.06 + 0.375 * math.log2(data.vocabulary_size / 512)


def _advice(data: DataSettings, budget: int | None) -> str:
    train, validation, size = _PUBLISHED[data.c4.config]
    shard = size / (train + validation)
    needed = train
    if budget is not None:
        enough = budget * _bytes_per_token(data) / (shard * _TEXT_PER_COMPRESSED_BYTE)
        # Half a shard more than the estimate, which is one.
        needed = min(train, data.c4.train_shards or math.ceil(enough + 0.5))
    return (
        f"It is not part of this project and is never fetched by it: download from allenai/c4 "
        f"(Hugging Face, licence ODC-BY), folder {data.c4.config}, the files "
        f"c4-train.00000-of-{train:05d}.json.gz to c4-train.{needed - 1:05d}-of-{train:05d}.json.gz"
        f" (some {needed * shard / 1e9:.3g} GB; all {train} take {size / 1e9:.0f} GB) and "
        f"c4-validation.*-of-{validation:05d}.json.gz ({validation * shard / 1e9:.2g} GB) into "
        f"{Path(data.path or '').absolute()}, or name there a prepared TFDS folder "
        f"c4/{data.c4.config}/{TFDS_VERSION} of array_record files"
    )


def _json_files(folder: Path) -> C4Files | None:
    shards: dict[str, list[C4Shard]] = {"train": [], "validation": []}
    totals: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if match := _JSON_NAME.fullmatch(path.name):
            split, number, total = match.groups()
            if totals.setdefault(split, total) != total:
                raise UserError(
                    f"data.path: {folder} has {split} shards of {int(totals[split])} and of "
                    f"{int(total)}, which are two data sets: keep one there"
                )
            if not path.is_file():
                raise UserError(f"{path} is a folder, or a link to nothing: download it again")
            size = path.stat().st_size
            shards[split].append(
                C4Shard(split, int(number), path, size, size * _TEXT_PER_COMPRESSED_BYTE)
            )
    return C4Files("json", folder, shards["train"], shards["validation"]) if totals else None


def _tfds_files(folder: Path, data: DataSettings) -> C4Files:
    path = folder / "dataset_info.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        found = (info["name"], info["configName"], info["version"], info["fileFormat"])
        splits = {split["name"]: split for split in info["splits"]}
        train, validation = (_tfds_shards(folder, splits[name]) for name in ("train", "validation"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged, or of something else than C4 ({error!r}): restore it"
        ) from None
    wanted = ("c4", data.c4.config, TFDS_VERSION, "array_record")
    if found != wanted:
        raise UserError(
            f"{path} is of {'/'.join(found[:2])}:{found[2]} in {found[3]}, but this needs "
            f"{'/'.join(wanted[:2])}:{wanted[2]} in {wanted[3]}: name another folder in data.path"
        )
    return C4Files("tfds", folder, train, validation)


def _tfds_shards(folder: Path, split: dict[str, Any]) -> list[C4Shard]:
    lengths = [int(length) for length in split["shardLengths"]]
    text_per_record = int(split["numBytes"]) * _TEXT_PER_TFDS_BYTE / max(1, sum(lengths))
    shards, first = [], 0
    for number, length in enumerate(lengths):
        name = f"c4-{split['name']}.array_record-{number:05d}-of-{len(lengths):05d}"
        path = folder / name
        if path.is_file():
            size, text = path.stat().st_size, length * text_per_record
            shards.append(C4Shard(split["name"], number, path, size, text, first, length))
        first += length
    return shards


def _check_complete(shards: list[C4Shard]) -> None:
    """Training shards are read from the first on; validation shards are held out, all of them."""
    name = shards[0].path.name
    # As in c4-train.00000-of-01024.json.gz and in c4-train.array_record-00000-of-01024.
    of_all = re.compile(r"\d{5}-of-(\d{5})")
    train = shards[0].split == "train"
    wanted = len(shards) if train else int(of_all.search(name)[1])  # type: ignore[index]
    there = {shard.number for shard in shards}
    for number in range(wanted):
        if number not in there:
            path = shards[0].path.with_name(of_all.sub(rf"{number:05d}-of-\1", name))
            why = "later ones are there" if train else "all validation shards are held out"
            raise UserError(f"{path} is missing, and {why}: download it")
    for shard in shards:
        if not shard.bytes:
            raise UserError(f"{shard.path} is empty: download it again")


def write_catalogue(files: C4Files, settings: DataSettings, folder: Path) -> None:
    """Writes the shards' names and sizes, as the corpus's manifest."""
    manifest = {
        "kind": KIND,
        "corpus": f"c4/{settings.c4.config}",
        "form": files.form,
        "folder": files.folder.as_posix(),
        "statement": {
            "text": f"C4 ({settings.c4.config}): English web text of April 2019",
            "source": "allenai/c4" if files.form == "json" else "TensorFlow Datasets c4 3.0.1",
            "licence": "ODC-BY; the pages are also under Common Crawl's terms of use",
        },
        "digest": json_digest([[name, shard.bytes] for name, shard in files.named.items()]),
        "shards": {
            name: {"file": shard.path.name, "bytes": shard.bytes}
            for name, shard in files.named.items()
        },
        "files": {},
    }
    with replacing_folder(folder, frozenset({MANIFEST})) as result:
        write_json(result / MANIFEST, manifest)


def is_catalogue(folder: Path) -> bool:
    """Whether the corpus in a folder is C4."""
    return read_json(folder / MANIFEST, RULE, ("kind",))["kind"] == KIND


def check_against_catalogue(files: C4Files, folder: Path) -> dict[str, Any]:
    """The catalogue in `folder`, if its shards are as large as then.

    Shards that it does not know are let be.
    """
    manifest = read_json(folder / MANIFEST, RULE, ("shards", "digest", "statement"))
    accept = (
        f"to take the files as they are now, delete {folder / MANIFEST} and run again (runs on "
        "other tokens are trained anew)"
    )
    there = files.named
    for name, then in manifest["shards"].items():
        if name not in there:
            raise UserError(
                f"{files.folder / then['file']} is gone, which {folder / MANIFEST} lists: restore "
                f"it, or {accept}"
            )
        now = there[name]
        if now.bytes != then["bytes"]:
            change = _change(now.path, then["bytes"], now.bytes)
            raise UserError(f"{change} since it was first seen: restore it, or {accept}")
    return manifest


def check_unchanged(shard: C4Shard) -> None:
    """Refuses a shard that has grown or shrunk since this process found it."""
    size = shard.path.stat().st_size
    if size != shard.bytes:
        change = _change(shard.path, shard.bytes, size)
        raise UserError(f"{change} while it was read: finish the download, then run again")


def _change(path: Path, then: int, now: int) -> str:
    return f"{path} has {'grown' if now > then else 'shrunk'} from {then} to {now} bytes"


def first_documents(files: C4Files, text_key: str, count: int) -> Iterator[str]:
    """The first texts of the training shards, the sample that a vocabulary learns from.

    C4 is shuffled, so they are as good as drawn at random; none is held out.
    """
    rows = (row for shard in files.train for row in read_shard(shard, text_key))
    for _, text in islice(rows, count):
        yield text


def read_shard(shard: C4Shard, text_key: str) -> Iterator[tuple[int, str]]:
    """Each row's number and text, in order; only the row at hand is in memory.

    Rows are lines, from 1, or TFDS's records, from 0. An error names the place of the damage.
    """
    return _json_rows(shard, text_key) if shard.path.suffix == ".gz" else _tfds_rows(shard)


def _json_rows(shard: C4Shard, text_key: str) -> Iterator[tuple[int, str]]:
    with shard.path.open("rb") as raw, igzip.IGzipFile(fileobj=raw) as file:
        name, row, offset = str(shard.path), 0, 0
        try:
            for row, line in enumerate(file, start=1):
                if line.strip():
                    yield row, row_text(line, text_key, f"{name}:{row} (unpacked byte {offset})")
                offset += len(line)
        except UNPACKING_ERRORS as error:
            raise UserError(
                f"{shard.path} is damaged at or before byte {raw.tell()} of {shard.bytes}, "
                f"after row {row} ({error}): download it again"
            ) from None
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
