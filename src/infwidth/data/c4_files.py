# SPDX-License-Identifier: Apache-2.0
"""C4's shards on disk: json.gz files as allenai/c4 has them, or a prepared TFDS `c4` folder.

Nothing is downloaded, and no shard is read here: the names, their sizes and TFDS's own description
say all that is needed to plan.
"""

import json
import math
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings, Settings
from infwidth.config.shared import C4Config

TFDS_VERSION = "3.0.1"
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
    """One file of C4.

    Attributes:
        split: C4's own, `train` or `validation`.
        number: of the shard in its split, from 0.
        path: the file.
        bytes: its size.
        text_bytes: about how much text it holds.
        first: TFDS only: number of its first record in the split.
        records: TFDS only: how many it has.
    """

    split: str
    number: int
    path: Path
    bytes: int
    text_bytes: float
    first: int = 0
    records: int = 0

    @property
    def name(self) -> str:
        """As in train-00003, which names what is made of it."""
        return f"{self.split}-{self.number:05d}"


class C4Files(NamedTuple):
    """All shards that were found.

    Attributes:
        form: `json`, or `tfds` for a prepared folder of array_record files.
        folder: where they lie.
        train: in order.
        validation: in order.
    """

    form: Literal["json", "tfds"]
    folder: Path
    train: list[C4Shard]
    validation: list[C4Shard]


def token_budget(settings: Settings) -> int:
    """The tokens of training text from which the largest run can be fed without a repeat.

    Batches are windows of `context` tokens at a random phase, of which each counts once an epoch:
    steps × batch windows, and one more for the phase.
    """
    training, infinite = settings.training, settings.infinite_lm
    sequences = max(
        training.steps * training.batch_size,
        infinite.steps * infinite.batch_size,
    )
    return (sequences + 1) * settings.model.context


def find_shards(data: DataSettings, budget: int | None = None) -> C4Files:
    """Finds the shards in the folder that the settings name, or below it.

    Args:
        data: `path`, `c4` and the vocabulary.
        budget: tokens wanted, for the error's estimate of how much to download; None: all.

    Returns:
        The shards; no file is opened but TFDS's description.

    Raises:
        UserError: there are none, with what to download, how large it is, and where it goes; or one
            is missing or empty.
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
    """The training shards to read: those that the settings ask for, or about enough of them.

    Args:
        files: what there is.
        data: `c4.train_shards` and the vocabulary.
        budget: tokens wanted.

    Returns:
        The first shards, one at least. Without `train_shards` their number rests on an estimate
        of tokens from sizes; if it falls short, `tokenize` itself goes on with those that follow.

    Raises:
        UserError: more shards are asked for than there are.
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
    if not totals:
        return None
    return C4Files("json", folder, shards["train"], shards["validation"])


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


def _tfds_files(folder: Path, data: DataSettings) -> C4Files:
    path = folder / "dataset_info.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        found = (info["name"], info["configName"], info["version"], info["fileFormat"])
        splits = {split["name"]: split for split in info["splits"]}
        shards = {name: _tfds_shards(folder, splits[name]) for name in ("train", "validation")}
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
    return C4Files("tfds", folder, shards["train"], shards["validation"])


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
