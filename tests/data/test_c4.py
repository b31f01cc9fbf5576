# SPDX-License-Identifier: Apache-2.0
import errno
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings, InfiniteLmSettings, Settings
from infwidth.data.batches import Batches, evaluation_windows
from infwidth.data.c4 import (
    find_shards,
    first_documents,
    planned_shards,
    token_budget,
    write_catalogue,
)
from infwidth.data.c4_tokens import ShardMaker, join_shards
from infwidth.data.files import describe_files
from infwidth.data.splits import SPLITS
from infwidth.data.tokens import TokenDataset, TokenSplit
from infwidth.data.vocabulary import ByteVocabulary, train_vocabulary
from tests.data.c4 import (
    Shards,
    c4_texts,
    prepare_tfds,
    shard_path,
    write_json_shards,
    write_shard,
)

PLENTY = 4000
"""A budget of tokens (bytes) that takes one shard of three and some of the next."""


def data_settings(folder: Path, **kwargs) -> DataSettings:
    return DataSettings(corpus="c4", path=str(folder), **kwargs)


def make(data: DataSettings, out: Path, budget: int = PLENTY) -> TokenDataset:
    """From shards to tokens as the commands do it; what is there already is kept."""
    files = find_shards(data)
    if not (out / "corpus").exists():
        write_catalogue(files, data, out / "corpus")
        train_vocabulary(
            data,
            out / "corpus",
            out / "vocabulary",
            lambda: first_documents(files, data.text_key, data.c4.vocabulary_documents),
        )
    maker = ShardMaker(files, out / "corpus", out / "vocabulary", data, budget, out / "shards")
    join_shards(maker, out / "vocabulary", out / "tokens")
    return TokenDataset.open(out / "tokens")


def documents_of(split: TokenSplit, dataset: TokenDataset) -> list[str]:
    vocabulary = dataset.vocabulary()
    spans = zip(split.bounds, split.bounds[1:], strict=False)
    documents = [split.tokens[start:end] for start, end in spans]
    assert all(ids[0] == vocabulary.bos and ids[-1] == vocabulary.eos for ids in documents)
    return [vocabulary.decode(ids) for ids in documents]


@pytest.fixture(scope="module")
def texts() -> Shards:
    return c4_texts()


@pytest.fixture
def shards(texts: Shards, tmp_path: Path) -> Path:
    return write_json_shards(tmp_path / "c4", texts)


def total_bytes(texts: list[str]) -> int:
    return sum(len(text.encode()) + 2 for text in texts if text.strip())


@pytest.mark.parametrize("vocabulary", ["bytes", "sentencepiece"])
def test_tokens_are_the_documents_in_order_and_held_out_ones_go_by_their_hash(
    texts: Shards, shards: Path, tmp_path: Path, vocabulary: str
):
    data = data_settings(
        shards, vocabulary=vocabulary, vocabulary_size=400, c4={"train_shards": 3}, split_seed=5
    )
    dataset = make(data, tmp_path / "out")
    expected: dict[str, list[str]] = {split: [] for split in SPLITS}
    expected["train"] += [text for shard in texts["train"] for text in shard if text.strip()]
    for text in (text for shard in texts["validation"] for text in shard if text.strip()):
        plain = re.sub(rb"\s+", b"", text.encode().lower())
        digest = hashlib.sha256(b"5/" + plain).digest()
        expected["test" if digest[0] % 2 else "validation"].append(text)
    for split in SPLITS:
        opened = dataset.split(split)
        assert documents_of(opened, dataset) == expected[split]
        assert dataset.manifest["tokens"][split] == len(opened.tokens) == opened.bounds[-1]
        assert dataset.manifest["documents"][split] == len(opened.document_names())
        # A name leads back to the row.
        for name, text in zip(opened.document_names(), expected[split], strict=True):
            file, _, row = name.rpartition(":")
            lines = gzip.decompress((shards / file).read_bytes()).split(b"\n")
            assert json.loads(lines[int(row) - 1])["text"] == text
    assert dataset.manifest["left_out"] == {"empty": 5, "copies of held-out documents": 0}


def test_many_shards_read_as_one_array(shards: Path, tmp_path: Path):
    dataset = make(data_settings(shards, c4={"train_shards": 3}), tmp_path / "out")
    for name in SPLITS:
        sharded = dataset.split(name)
        parts = sorted((tmp_path / "out/shards").glob(f"*/{name}.tokens.npy"))
        assert len(parts) == (3 if name == "train" else 2)
        whole = np.concatenate([np.load(part) for part in parts])
        one = TokenSplit(name, whole, sharded.bounds, Path("unused"))
        ours, theirs = (Batches(s, 16, 4, seed=3) for s in (sharded, one))
        count = 2 * ours.steps_per_epoch + 1
        assert np.array_equal(ours.chunk(0, count), theirs.chunk(0, count))
        windows = (evaluation_windows(s, 16, 2000) for s in (sharded, one))
        for mine, other in zip(*windows, strict=True):
            assert np.array_equal(mine, other)
            assert mine.dtype == other.dtype


def test_it_stops_where_the_largest_run_has_enough(texts: Shards, shards: Path, tmp_path: Path):
    sizes = [total_bytes(shard) for shard in texts["train"]]
    for number, (budget, used) in enumerate([(sizes[0], 1), (sizes[0] + 1, 2), (sum(sizes), 3)]):
        dataset = make(data_settings(shards), tmp_path / str(number), budget)
        assert len(dataset.manifest["shards"]["train"]) == used
        # No shard gives more than the budget, and a document at most beyond it.
        whole = sum(min(size, budget) for size in sizes[:used])
        assert whole <= dataset.manifest["tokens"]["train"] <= sum(sizes[:used])
    with pytest.raises(UserError, match=rf"hold {sum(sizes)} tokens.*reads {sum(sizes) + 1}: add"):
        make(data_settings(shards), tmp_path / "short", sum(sizes) + 1)
    # A budget below one shard ends in its middle, with the document that meets it.
    small = make(data_settings(shards), tmp_path / "small", 1000)
    bounds = small.split("train").bounds
    assert bounds[-2] < 1000 <= bounds[-1]
    # What was made for a larger one leaves no trace.
    make(data_settings(shards), tmp_path / "0", PLENTY)
    assert make(data_settings(shards), tmp_path / "0", 1000).digest == small.digest


def test_the_budget_feeds_the_largest_run_without_a_repeat():
    settings = Settings(
        model={"context": 8},
        training={"steps": 50, "batch_size": 4, "warmup_steps": 1, "checkpoint_every": 50},
        infinite_lm=InfiniteLmSettings(steps=10, batch_size=3, warmup_steps=1),
    )
    budget = token_budget(settings)
    for tokens, steps in ((budget, 50), (budget - 1, 49)):
        split = TokenSplit("train", np.zeros(tokens, np.uint16), np.zeros(2), Path("unused"))
        assert Batches(split, 8, 4, 0).steps_per_epoch == steps


def test_copies_of_held_out_documents_are_not_trained_on(texts: Shards, tmp_path: Path):
    held_out = texts["validation"][1][7]
    train = [list(shard) for shard in texts["train"]]
    train[0][2] = held_out
    # With more space before it than what a text's head is taken from.
    train[2][4] = " " * 300 + held_out.upper().replace(" ", "\n")
    # Begins as a held-out one and ends otherwise, so it stays.
    train[0][3] = held_out + " And more."
    validation = [[*texts["validation"][0], held_out.title()], texts["validation"][1]]
    folder = write_json_shards(tmp_path / "c4", {"train": train, "validation": validation})
    dataset = make(data_settings(folder, c4={"train_shards": 3}), tmp_path / "out")
    assert dataset.manifest["left_out"]["copies of held-out documents"] == 2
    found = {split: documents_of(dataset.split(split), dataset) for split in SPLITS}
    assert held_out not in found["train"]
    assert train[0][3] in found["train"]
    # Both copies that are held out are on one side.
    assert sorted(sum(t.lower() == held_out.lower() for t in found[s]) for s in SPLITS) == [0, 0, 2]


def test_a_prepared_tfds_folder_gives_the_same_documents(
    texts: Shards, shards: Path, tmp_path: Path
):
    prepared = prepare_tfds(tmp_path / "tfds", texts)
    json_data, tfds_data = (data_settings(f, c4={"train_shards": 3}) for f in (shards, prepared))
    ours, theirs = make(tfds_data, tmp_path / "one"), make(json_data, tmp_path / "two")
    for split in SPLITS:
        assert np.array_equal(ours.split(split).tokens[:], theirs.split(split).tokens[:])
        assert np.array_equal(ours.split(split).bounds, theirs.split(split).bounds)

    path = prepared / "c4/en/3.0.1/c4-train.array_record-00001-of-00003"
    content = bytearray(path.read_bytes())
    # Records fill the front of the first block, the index the end of the last.
    middle = len(content[: 2**16].rstrip(b"\0")) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{path.name} is damaged at record \d+ of 30"):
        make(tfds_data, tmp_path / "damaged")


@pytest.mark.parametrize("key", ["version", "fileFormat", "configName", "splits"])
def test_another_tfds_folder_is_refused(texts: Shards, tmp_path: Path, key: str):
    folder = tmp_path / "3.0.1"
    folder.mkdir()
    info = {"name": "c4", "configName": "en", "version": "3.0.1", "fileFormat": "array_record"}
    splits = [{"name": s, "numBytes": "9", "shardLengths": ["1"]} for s in ("train", "validation")]
    (folder / "dataset_info.json").write_text(json.dumps({**info, "splits": splits, key: "x"}))
    with pytest.raises(UserError, match=r"dataset_info\.json is (of .* needs c4/en:3|damaged)"):
        find_shards(data_settings(tmp_path))


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(64) + content[middle + 64 :]


def with_another_checksum(content: bytes) -> bytes:
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


def with_row(row: bytes) -> Callable[[bytes], bytes]:
    def spoil(content: bytes) -> bytes:
        lines = gzip.decompress(content).split(b"\n")
        return gzip.compress(b"\n".join([*lines[:6], row, *lines[7:]]))

    return spoil


DAMAGED = r" is damaged at or before byte \d+ of \d+, after row "


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (damaged, DAMAGED + r"\d+ \("),
        (with_another_checksum, DAMAGED + r"[1-9]\d* \(CRC check failed"),
        (lambda content: content[:-20], DAMAGED + r"[1-9]\d* \(Compressed file ended"),
        (with_row(b'{"text": "cut'), r":7 \(unpacked byte \d+\) is not JSON"),
        (lambda _: gzip.compress(b""), r" holds no row: download it again"),
    ],
)
def test_a_spoilt_shard_is_named_with_its_place_and_the_others_are_kept(
    shards: Path, tmp_path: Path, spoil, place: str
):
    path = shard_path(shards, "train", 1, 3)
    good = path.read_bytes()
    path.write_bytes(spoil(good))
    data, out = data_settings(shards, c4={"train_shards": 3}), tmp_path / "out"
    with pytest.raises(UserError, match=re.escape(str(path)) + place):
        make(data, out)
    made = {folder.name for folder in (out / "shards").iterdir()}
    assert made == {"train-00000", "validation-00000", "validation-00001"}
    files = find_shards(data)
    maker = ShardMaker(files, out / "corpus", out / "vocabulary", data, PLENTY, out / "shards")
    assert maker.make(maker.shard("train-00002"))["documents"] == {"train": 29}

    path.write_bytes(good)
    shutil.rmtree(out / "corpus")
    assert make(data, out).digest == make(data, tmp_path / "again").digest


def test_a_shard_that_changes_between_runs_is_named(shards: Path, tmp_path: Path):
    data = data_settings(shards, c4={"train_shards": 3})
    first = make(data, tmp_path / "out")
    path = shard_path(shards, "train", 1, 3)
    good = path.read_bytes()
    changes = (
        (good + gzip.compress(b'{"text": "more"}\n'), r"has grown from \d+ to \d+ bytes"),
        (good[:-100], r"has shrunk from \d+ to \d+ bytes"),
        (good[:-9] + b"x" + good[-8:], r"sha256 .* is as large as .* but is not that"),
    )
    for content, message in changes:
        path.write_bytes(content)
        with pytest.raises(UserError, match=re.escape(str(path)) + ".*" + message):
            make(data, tmp_path / "out")
    path.unlink()
    shard_path(shards, "train", 2, 3).rename(shards / "aside")
    with pytest.raises(UserError, match=r"c4-train\.00001.* is gone"):
        make(data, tmp_path / "out")
    (shards / "aside").rename(shard_path(shards, "train", 2, 3))
    # A size that is taken as it is, by a new catalogue, is other data.
    path.write_bytes(good + gzip.compress(b'{"text": "more"}\n'))
    shutil.rmtree(tmp_path / "out/corpus")
    grown = make(data, tmp_path / "out")
    assert documents_of(grown.split("train"), grown)[29 + 29] == "more"
    path.write_bytes(good)
    shutil.rmtree(tmp_path / "out/corpus")
    # More shards than there were are no change.
    write_shard(shards / "c4-train.00003-of-00003.json.gz", ["new"])
    assert make(data, tmp_path / "out").digest == first.digest


def test_shards_that_are_there_are_kept_and_others_made_anew_to_the_same_bytes(
    shards: Path, tmp_path: Path
):
    data, out = data_settings(shards, c4={"train_shards": 2}), tmp_path / "out"
    one = make(data, out)
    files = describe_files(out / "shards")
    for path in (out / "shards").glob("*/*"):
        os.utime(path, (1, 1))
    shutil.rmtree(out / "shards/train-00001")
    two = make(data, out)
    assert one.manifest == two.manifest
    assert describe_files(out / "shards") == files
    new = {p.parent.name for p in (out / "shards").glob("*/*") if p.stat().st_mtime != 1}
    assert new == {"train-00001"}
    # A larger budget changes no shard that was read whole.
    assert make(data_settings(shards), out, one.manifest["tokens"]["train"]).digest == one.digest
    # Another text key would read other text.
    with pytest.raises(UserError, match="no key 'body'"):
        make(data_settings(shards, text_key="body"), out)


def read_all(dataset: TokenDataset) -> None:
    for split in SPLITS:
        opened = dataset.split(split)
        assert len(documents_of(opened, dataset)) == len(opened.document_names())


def test_damage_of_a_shards_tokens_is_found_and_they_are_made_again(shards: Path, tmp_path: Path):
    data, out = data_settings(shards, c4={"train_shards": 1}), tmp_path / "out"
    read_all(make(data, out))
    files = describe_files(out)
    for path in sorted((out / "shards").glob("*/*")):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 8
        path.write_bytes(content)
        if path.name in ("hashes.npy", "heads.npy"):
            # They are read where a training shard is made.
            shutil.rmtree(out / "shards/train-00000")
        with pytest.raises(UserError, match=f"{path.name} is damaged .*set aside as manifest.json"):
            read_all(make(data, out))
        read_all(make(data, out))
        assert describe_files(out) == files


def test_a_full_disk_leaves_nothing(shards: Path, tmp_path: Path, monkeypatch):
    encode = ByteVocabulary.encode
    rows = itertools.count()

    def full(self, text: str) -> np.ndarray:
        if next(rows) == 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        return encode(self, text)

    monkeypatch.setattr(ByteVocabulary, "encode", full)
    with pytest.raises(UserError, match=r"the disk of .*/validation-0000\d is full: free some"):
        make(data_settings(shards), tmp_path / "out")
    monkeypatch.undo()
    assert not list((tmp_path / "out/shards").glob(".*"))
    assert not (tmp_path / "out/tokens").exists()
    assert len(make(data_settings(shards), tmp_path / "out").split("train").tokens) >= PLENTY


def test_without_the_data_the_error_says_what_to_download(tmp_path: Path):
    data = data_settings(tmp_path / "none", vocabulary="sentencepiece", vocabulary_size=32_000)
    with pytest.raises(UserError) as caught:
        find_shards(data, 40_000 * 256 * 512)
    message = str(caught.value)
    # 5.24 G tokens are some 32 shards of 319 MB, 10 GB.
    assert re.search(r"c4-train\.00000-of-01024\.json\.gz to c4-train\.000(2[89]|3\d)-of-", message)
    assert re.search(r"some (9|1\d)(\.\d+)? GB; all 1024 take 327 GB", message)
    assert str(tmp_path / "none") in message
    (tmp_path / "half").mkdir()
    write_shard(shard_path(tmp_path / "half", "train", 0, 1024), ["text"])
    with pytest.raises(UserError, match=r"half has no validation shards.*download from allenai/c4"):
        find_shards(data_settings(tmp_path / "half"))
    write_shard(shard_path(tmp_path / "half", "train", 0, 512), ["text"])
    with pytest.raises(UserError, match="train shards of 512 and of 1024"):
        find_shards(data_settings(tmp_path / "half"))


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "split", "number", "words"),
    [
        (Path.unlink, "train", 0, "is missing, and later ones are there: download it"),
        (Path.unlink, "train", 1, "is missing, and later ones are there: download it"),
        (Path.unlink, "validation", 0, "is missing, and all validation shards are held out"),
        (Path.unlink, "validation", 1, "is missing, and all validation shards are held out"),
        (make_empty, "train", 2, "is empty: download it again"),
        (make_empty, "validation", 1, "is empty: download it again"),
        (link_to_nothing, "train", 2, "is a folder, or a link to nothing: download it again"),
        (make_folder, "validation", 0, "is a folder, or a link to nothing: download it again"),
    ],
)
def test_a_shard_that_is_not_there_whole_is_named_before_any_job(
    shards: Path, spoil, split: str, number: int, words: str
):
    path = shard_path(shards, split, number, {"train": 3, "validation": 2}[split])
    spoil(path)
    with pytest.raises(UserError, match=f"{re.escape(str(path))} {words}") as caught:
        find_shards(data_settings(shards))
    assert "\n" not in str(caught.value)


def test_so_is_one_of_a_prepared_tfds_folder(texts: Shards, tmp_path: Path):
    folder = prepare_tfds(tmp_path, texts) / "c4/en/3.0.1"
    for split in ("validation", "train"):
        first, *_ = sorted(folder.glob(f"c4-{split}.array_record-00000-of-*"))
        first.write_bytes(b"")
        with pytest.raises(UserError, match=f"{re.escape(str(first))} is empty"):
            find_shards(data_settings(tmp_path))
        first.unlink()
        with pytest.raises(UserError, match=f"{re.escape(str(first))} is missing"):
            find_shards(data_settings(tmp_path))


def test_blank_lines_of_a_shard_are_no_documents(shards: Path, tmp_path: Path):
    data = data_settings(shards, c4={"train_shards": 1})
    first = make(data, tmp_path / "first")
    path = shard_path(shards, "train", 0, 3)
    rows = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(rows.replace(b"\n", b"\r\n") + b"\r\n \n"))
    assert make(data, tmp_path / "blank").digest == first.digest


def test_the_plan_counts_shards_by_their_sizes(tmp_path: Path):
    for number in range(40):
        path = shard_path(tmp_path, "train", number, 1024)
        path.touch()
        # A hole of that size takes no disk.
        os.truncate(path, 319_000_000)
    write_shard(shard_path(tmp_path, "validation", 0, 1), ["text"])

    def planned(budget: int, **kwargs) -> int:
        data = data_settings(tmp_path, vocabulary_size=32_000, **kwargs)
        return len(planned_shards(find_shards(data), data, budget))

    assert 28 <= planned(40_000 * 256 * 512, vocabulary="sentencepiece") <= 34
    assert planned(40_000 * 256 * 512) == 7
    assert planned(1) == 1
    assert planned(10**12) == 40
    assert planned(1, c4={"train_shards": 9}) == 9
    with pytest.raises(UserError, match=r"train_shards is 41, but .* has 40"):
        planned(1, c4={"train_shards": 41})


def test_the_vocabulary_learns_from_the_first_documents_alone(shards: Path, tmp_path: Path):
    data = data_settings(
        shards, vocabulary="sentencepiece", vocabulary_size=330, c4={"vocabulary_documents": 30}
    )
    one = make(data, tmp_path / "one")
    write_shard(shard_path(shards, "train", 1, 3), ["zyx " * 99] * 30)
    write_shard(shard_path(shards, "validation", 1, 2), ["qwq " * 99, "bvb " * 99] * 15)
    two = make(data, tmp_path / "two")
    assert one.manifest["vocabulary"] == two.manifest["vocabulary"]
    assert one.digest != two.digest
