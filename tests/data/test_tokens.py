# SPDX-License-Identifier: Apache-2.0
import argparse
import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from infwidth.cli import data as cli
from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings, ModelSettings, Settings, TrainingSettings
from infwidth.data import listed
from infwidth.data.corpus import open_documents
from infwidth.data.files import MANIFEST, describe_files, replacing_folder
from infwidth.data.splits import SPLITS
from infwidth.data.tokens import TokenDataset, tokenize
from infwidth.layout import Layout
from infwidth.stored import write_json
from tests.data.conftest import Prepared, prepare
from tests.data.texts import write_texts


@pytest.fixture
def copied(prepared: Prepared, tmp_path: Path) -> Path:
    shutil.copytree(prepared.tokens, tmp_path / "tokens")
    return tmp_path / "tokens"


@pytest.mark.parametrize("name", SPLITS)
def test_the_array_is_the_documents_between_marks(prepared: Prepared, name: str):
    dataset = prepared.dataset
    vocabulary, split = dataset.vocabulary(), dataset.split(name)
    documents = list(open_documents(prepared.corpus, name))
    assert split.document_names() == [document.name for document in documents]
    assert split.tokens.dtype == np.uint16
    assert split.bounds[0] == 0
    assert split.bounds[-1] == len(split.tokens) == dataset.manifest["tokens"][name]
    assert len(split.bounds) - 1 == len(documents) == dataset.manifest["documents"][name]
    for document, start, end in zip(documents, split.bounds, split.bounds[1:], strict=False):
        assert split.tokens[start] == vocabulary.bos
        assert split.tokens[end - 1] == vocabulary.eos
        assert vocabulary.decode_bytes(split.tokens[start + 1 : end - 1]) == document.text


def test_the_manifest_says_what_the_tokens_are_made_of(prepared: Prepared, tmp_path: Path):
    dataset = prepared.dataset
    corpus = json.loads((prepared.corpus / MANIFEST).read_text())
    vocabulary = dataset.vocabulary()
    assert dataset.vocabulary_size == vocabulary.size
    assert dataset.manifest["vocabulary"]["digest"] == vocabulary.digest
    assert dataset.manifest["corpus"]["digest"] == corpus["digest"]
    tokenize(prepared.corpus, prepared.vocabulary, tmp_path / "same")
    assert describe_files(tmp_path / "same") == describe_files(prepared.tokens)


def test_the_digest_changes_with_one_byte_of_text(tmp_path: Path):
    texts = write_texts(tmp_path / "texts")
    digests = []
    for letter in (b"x", b"y"):
        (texts / "00.txt").write_bytes((texts / "00.txt").read_bytes()[:-1] + letter)
        made = prepare(DataSettings(corpus="text", path=str(texts)), tmp_path)
        digests.append(made.dataset.digest)
    assert digests[0] != digests[1]


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def read_all(folder: Path) -> None:
    dataset = TokenDataset.open(folder)
    for name in SPLITS:
        split = dataset.split(name)
        assert len(split.tokens[: len(split.tokens)]) == split.bounds[-1]
        assert len(split.document_names()) == len(split.bounds) - 1
    dataset.vocabulary()


@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_an_edited_file_is_named_when_it_is_read_and_its_manifest_set_aside(
    copied: Path, place: float
):
    read_all(copied)
    for name in sorted(path.name for path in copied.iterdir()):
        path, whole = copied / name, {p: p.read_bytes() for p in copied.iterdir()}
        flip(path, int(place * (len(whole[path]) - 1)))
        with pytest.raises(UserError, match=f"{name} is damaged.*set aside as manifest.json.dama"):
            read_all(copied)
        assert not (copied / MANIFEST).exists()
        for each, content_before in whole.items():
            each.write_bytes(content_before)
    read_all(copied)


def test_tokens_are_checked_block_by_block_as_they_are_read(copied: Path, monkeypatch):
    monkeypatch.setattr(listed, "BLOCK", 1024)
    manifest = json.loads((copied / MANIFEST).read_text())
    path = copied / "train.tokens.npy"
    manifest["blocks"] = {path.name: listed.block_digests(path)}
    write_json(copied / MANIFEST, manifest)
    flip(path, 3000)
    tokens = TokenDataset.open(copied).split("train").tokens
    assert tokens[np.array([[0, 1], [400, 401]])].shape == (2, 2)
    assert len(tokens[2000:2010]) == 10
    with pytest.raises(UserError, match=r"train\.tokens\.npy is damaged \(in its MiB 2\)"):
        tokens[np.array([1400])]


def test_tokens_of_an_earlier_version_are_checked_as_a_whole(copied: Path):
    manifest = json.loads((copied / MANIFEST).read_text())
    del manifest["blocks"]
    write_json(copied / MANIFEST, manifest)
    read_all(copied)
    flip(copied / "train.tokens.npy", -1)
    with pytest.raises(UserError, match=r"train\.tokens\.npy is damaged \(its sha256 differs\)"):
        TokenDataset.open(copied).split("train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.tokens.npy", -2, r"train\.tokens\.npy .*truncated.*`infwidth data tokenize`"),
        ("validation.bounds.npy", None, r"validation\.bounds\.npy is missing"),
        (MANIFEST, b'{"kind": ', r"manifest\.json is damaged"),
        (MANIFEST, b'{"kind": "tokens"}', r"manifest\.json is damaged"),
        (MANIFEST, None, r"manifest\.json is missing: run `infwidth data tokenize`"),
    ],
)
def test_what_is_damaged_or_missing_is_named(
    copied: Path, name: str, content: bytes | int | None, message: str
):
    path = copied / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(UserError, match=message):
        TokenDataset.open(copied)


def fill(folder: Path, text: str, then: Exception | None = None) -> None:
    with replacing_folder(folder, frozenset({"file"})) as result:
        (result / "file").write_text(text)
        if then is not None:
            raise then


def test_a_failed_block_leaves_the_old_folder_and_a_good_one_replaces_it(tmp_path: Path):
    folder = tmp_path / "folder"
    fill(folder, "old")
    with pytest.raises(ZeroDivisionError):
        fill(folder, "new", then=ZeroDivisionError())
    assert (folder / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]
    # As Snakemake marks it.
    (folder / ".snakemake_timestamp").touch()
    fill(folder, "new")
    assert list(folder.iterdir()) == [folder / "file"]
    assert (folder / "file").read_text() == "new"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        # As the writer of records puts it.
        RuntimeError("Failed to finalize: write() failed: No space left on device; at byte 9"),
    ],
)
def test_a_full_disk_is_one_line(tmp_path: Path, error: Exception):
    folder = tmp_path / "folder"
    with pytest.raises(UserError, match=f"^the disk of {folder} is full: free some space and run"):
        fill(folder, "new", then=error)
    assert list(tmp_path.iterdir()) == []


def test_another_process_still_at_work_is_left_alone(tmp_path: Path):
    with replacing_folder(tmp_path / "folder", frozenset({"file"})) as one:
        with replacing_folder(tmp_path / "folder", frozenset({"file"})) as two:
            (two / "file").write_text("two")
        (one / "file").write_text("one")
    assert (tmp_path / "folder" / "file").read_text() == "one"


RACE = """
import sys
from pathlib import Path
from infwidth.data.files import MANIFEST, replacing_folder

folder, words = Path(sys.argv[1]), sys.argv[2].split()
print("ready", flush=True)
sys.stdin.read()
for turn in range(300):
    with replacing_folder(folder, frozenset({MANIFEST, "file"})) as result:
        (result / "file").write_text(words[turn % len(words)])
        (result / MANIFEST).write_text(words[turn % len(words)])
"""


@pytest.mark.parametrize("words", [("same", "same"), ("one", "two"), ("same one", "same two")])
def test_makers_that_race_each_leave_a_whole_folder_and_nothing_beside_it(tmp_path: Path, words):
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path / "folder"), of_one],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for of_one in words
    ]
    assert [maker.stdout.readline() for maker in makers] == ["ready\n"] * 2
    for maker in makers:
        maker.stdin.close()
        maker.stdin = None
    errors = [maker.communicate(timeout=120)[1] for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0], errors
    made = {path.name: path.read_text() for path in (tmp_path / "folder").iterdir()}
    assert made.keys() == {"file", MANIFEST}
    assert made["file"] == made[MANIFEST]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


MAKE_ALL = """
import sys
from pathlib import Path
from infwidth.config.settings import DataSettings
from tests.data.conftest import prepare

print("ready", flush=True)
prepare(DataSettings(corpus="text", path=sys.argv[2]), Path(sys.argv[1]))
"""


def start(folder: Path, texts: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE_ALL, str(folder), str(texts)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_killed_at_any_moment_a_rerun_gives_the_same_bytes(tmp_path: Path):
    texts = write_texts(tmp_path / "texts", documents=120)
    with start(tmp_path / "whole", texts) as process:
        began = time.monotonic()
        assert process.wait() == 0
    lasted = time.monotonic() - began
    expected = describe_files(tmp_path / "whole")

    killed = 0
    for part in (0.1, 0.4, 0.7):
        with start(tmp_path / "killed", texts) as process:
            time.sleep(part * lasted)
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        for folder in (tmp_path / "killed").glob("[!.]*"):
            made = {f"{folder.name}/{name}": file for name, file in describe_files(folder).items()}
            assert made.items() <= expected.items()
            assert made.keys() == {name for name in expected if name.startswith(folder.name + "/")}
    assert killed > 0
    with start(tmp_path / "killed", texts) as process:
        assert process.wait() == 0
    assert describe_files(tmp_path / "killed") == expected
    left = {path.name for path in (tmp_path / "killed").iterdir()}
    assert left == {"corpus", "tokens", "vocabulary"}


def parsed(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    return parser.parse_args(["data", *line.split()])


def test_the_commands_make_what_the_functions_make(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    settings = Settings(
        data=DataSettings(corpus="text", path=str(texts)),
        model=ModelSettings(context=16),
        training=TrainingSettings(batch_size=4),
    )
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> str:
        arguments = parsed(line)
        arguments.run(arguments, settings, Layout("tiny"))
        return capsys.readouterr().out

    assert "documents: 21 train, 1 validation, 2 test; 0 empty" in run("corpus")
    assert "bytes, 258 tokens" in run("vocabulary --out elsewhere")
    assert "tokens: " in run("tokenize --vocabulary elsewhere")
    shown = run("show --step 17 --seed 3 --rows 2")
    assert len(shown.splitlines()) == 3
    assert (tmp_path / "results/tiny/data/tokens/manifest.json").exists()


def test_a_negative_step_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        parsed("show --step -1")
    assert "invalid whole number of 0 or more value: '-1'" in capsys.readouterr().err
