# SPDX-License-Identifier: Apache-2.0
import gzip
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data import documents
from infwidth.data.corpus import open_documents, prepare_corpus, read_corpus_manifest
from infwidth.data.files import describe_files
from infwidth.data.splits import SPLITS
from tests.data.texts import WORDS, write_texts


def settings_for(folder: Path, **kwargs) -> DataSettings:
    return DataSettings(corpus="text", path=str(folder), **kwargs)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Texts that a test may change."""
    return write_texts(tmp_path / "texts")


def sentence(seed: int, words: int = 120) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def test_preparing_leaves_nothing_elsewhere(texts: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    prepare_corpus(settings_for(texts), tmp_path / "corpus")
    open_documents(tmp_path / "corpus", "train")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_every_document_is_in_exactly_one_split_with_its_bytes(texts: Path, tmp_path: Path):
    settings = settings_for(texts)
    manifest = prepare_corpus(settings, tmp_path / "corpus")
    expected = {d.name: d.text for d in documents.open_source(settings).read()}
    found = [
        (document.name, document.text)
        for split in SPLITS
        for document in open_documents(tmp_path / "corpus", split)
    ]
    assert len(found) == len(expected)
    assert dict(found) == expected
    for split in SPLITS:
        names = [document.name for document in open_documents(tmp_path / "corpus", split)]
        assert names == manifest["documents"][split]
        characters = sum(len(expected[name].decode()) for name in names)
        assert manifest["characters"][split] == characters
    assert read_corpus_manifest(tmp_path / "corpus") == manifest


def test_processes_write_equal_bytes_without_tensorflow_and_jax(texts: Path, tmp_path: Path):
    # Within a process even an unordered map keeps its order, so each preparation has its own.
    code = (
        "import sys; from pathlib import Path; from infwidth.config.settings import DataSettings; "
        "from infwidth.data.corpus import open_documents, prepare_corpus; "
        "prepare_corpus(DataSettings(corpus='text', path=sys.argv[1]), Path(sys.argv[2])); "
        "open_documents(Path(sys.argv[2]), 'train')[0]; "
        "sys.exit('tensorflow' in sys.modules or 'jax' in sys.modules)"
    )
    for number in range(2):
        folder = tmp_path / str(number)
        subprocess.run([sys.executable, "-c", code, str(texts), str(folder)], check=True)
    assert describe_files(tmp_path / "0") == describe_files(tmp_path / "1")


def test_the_split_follows_its_seed_and_fractions(tmp_path: Path):
    texts = write_texts(tmp_path / "texts", documents=60)
    kwargs = {"validation_fraction": 0.2, "test_fraction": 0.3}
    one = prepare_corpus(settings_for(texts, **kwargs), tmp_path / "one")
    two = prepare_corpus(settings_for(texts, split_seed=1, **kwargs), tmp_path / "two")
    assert {split: len(names) for split, names in one["documents"].items()} == {
        "train": 30,
        "validation": 12,
        "test": 18,
    }
    assert one["documents"]["test"] != two["documents"]["test"]
    assert one["digest"] != two["digest"]


def test_copies_and_near_copies_stay_on_one_side(tmp_path: Path):
    folder = tmp_path / "texts"
    folder.mkdir()
    pairs = []
    for number in range(12):
        body = sentence(number)
        twin = body if number % 2 else sentence(100 + number) + " " + body
        (folder / f"a{number}.txt").write_text(body)
        (folder / f"b{number}.txt").write_text(twin)
        pairs.append((f"a{number}.txt", f"b{number}.txt"))
    for seed in range(5):
        settings = settings_for(folder, validation_fraction=0.3, test_fraction=0.3, split_seed=seed)
        manifest = prepare_corpus(settings, tmp_path / "corpus")
        side = {name: split for split, names in manifest["documents"].items() for name in names}
        assert all(side[one] == side[other] for one, other in pairs)
        assert {side[one] for one, _ in pairs} == set(SPLITS)
    assert sorted(map(tuple, manifest["copies"])) == sorted(pairs[1::2])
    assert sorted((one, other) for one, other, _ in manifest["near_copies"]) == sorted(pairs[::2])
    # The shorter one lies whole in the longer one.
    assert all(share == 1.0 for _, _, share in manifest["near_copies"])


def test_every_split_gets_a_document_when_copies_fill_the_corpus(tmp_path: Path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for group, copy in itertools.product(range(3), range(4)):
        (folder / f"{group}{copy}.txt").write_text(sentence(group))
    documents_of = prepare_corpus(settings_for(folder), tmp_path / "corpus")["documents"]
    assert all(len({name[0] for name in documents_of[split]}) == 1 for split in SPLITS)


def test_sotu_keeps_an_address_and_its_year_on_one_side(tmp_path: Path):
    manifest = prepare_corpus(DataSettings(), tmp_path / "corpus")
    sides: dict[str, set[str]] = {}
    for split, names in manifest["documents"].items():
        for name in names:
            sides.setdefault(name.rpartition("-")[0], set()).add(split)
    assert sum(map(len, manifest["documents"].values())) == 249
    assert all(len(side) == 1 for side in sides.values())
    assert manifest["copies"] == []
    assert ["1867-Johnson-1", "1868-Johnson-1"] in [list(p[:2]) for p in manifest["near_copies"]]
    assert "public domain" in manifest["statement"]["licence"]


def test_sotu_with_other_texts_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(documents, "SOTU_DIGEST", "0" * 64)
    with pytest.raises(UserError, match=r"not those of sotu 0\.1\.2: run `make env`"):
        documents.open_source(DataSettings())


def test_empty_documents_are_left_out_and_counted(own: Path, tmp_path: Path):
    (own / "empty.txt").write_text("")
    (own / "blank.jsonl").write_text('{"text": " \\n"}\n\n{"text": ""}\n')
    manifest = prepare_corpus(settings_for(own), tmp_path / "corpus")
    assert manifest["empty_documents"] == 3
    assert sum(map(len, manifest["documents"].values())) == 24


def test_gzipped_rows_and_another_key_are_read(tmp_path: Path):
    texts = tmp_path / "texts"
    (texts / "deep").mkdir(parents=True)
    rows = "".join(json.dumps({"body": sentence(seed), "url": "x"}) + "\n" for seed in range(6))
    (texts / "deep" / "c.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    manifest = prepare_corpus(settings_for(texts, text_key="body"), tmp_path / "corpus")
    names = {name for split in SPLITS for name in manifest["documents"][split]}
    assert names == {f"deep/c.jsonl.gz:{row}" for row in range(1, 7)}


ROW = json.dumps({"text": "fine"}).encode() + b"\n"
DEEP = b'{"text": "deep", "more": ' + b"[" * 5000 + b"]" * 5000 + b"}\n"
LONG = b'{"text": "long", "more": ' + b"1" * 5000 + b"}\n"


@pytest.mark.parametrize(
    "line",
    [
        '\ufeff{"text": "a mark before it"}',
        '{"text": "beside no number", "score": NaN}',
        '{"text": "beside half a pair", "url": "\\ud800"}',
        '{"text": "first", "text": "the last of two counts"}',
        '  {"text": "\\u00e9 \\ud83d\\ude42 \\n"} ',
    ],
)
def test_a_row_that_the_standard_library_reads_is_read(line: str):
    expected = json.loads(line.removeprefix("\ufeff"))["text"]
    assert documents.row_text(line.encode(), "text", "here") == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.txt", b"good \xff bad", r"bad\.txt is not UTF-8 at byte 5"),
        ("bad.jsonl", ROW + b'{"text": "\xff"}\n', r"bad\.jsonl:2 is not UTF-8 at byte 10"),
        ("bad.jsonl", ROW * 2 + b"{text}\n", r"bad\.jsonl:3 is not JSON .* column 2"),
        ("bad.jsonl", ROW + b'{"body": "x"}\n', r"bad\.jsonl:2 has no key 'text'.*data\.text_key"),
        ("bad.jsonl", b"[1]\n", r"bad\.jsonl:1 has no key 'text'"),
        ("bad.jsonl", b'{"text": 3}\n', r"bad\.jsonl:1: the value of 'text' is not a string"),
        ("bad.jsonl", ROW + DEEP, r"bad\.jsonl:2 is JSON that is nested too deep"),
        ("bad.jsonl", ROW + LONG, r"bad\.jsonl:2 has a number of too many digits"),
        ("bad.jsonl", b'{"text": "\\ud800"}\n', r"bad\.jsonl:1: 'text' holds half a surrogate"),
        ("bad.jsonl.gz", gzip.compress(ROW * 99, mtime=0)[:-9], r"bad\.jsonl\.gz is truncated"),
        ("bad.jsonl.gz", b"no gzip", r"bad\.jsonl\.gz is truncated or not gzip"),
    ],
)
def test_bad_text_is_named_in_one_line(
    own: Path, tmp_path: Path, name: str, content: bytes, message: str
):
    (own / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        prepare_corpus(settings_for(own), tmp_path / "corpus")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_what_is_not_read_is_counted_by_kind(own: Path, tmp_path: Path, caplog):
    read = documents.text_files(own)
    assert caplog.messages == []
    (own / "sub").mkdir()
    for name in ("a.json.gz", "sub/b.json.gz", "c.TXT", "d.parquet", "README", "._00.txt"):
        (own / name).write_text("not text")
    # What programs keep for themselves is no text that was forgotten.
    (own / ".git").mkdir()
    (own / ".git" / "index").touch()
    (own / ".DS_Store").touch()
    (own / "folder").symlink_to(tmp_path)
    assert documents.text_files(own) == read
    assert caplog.messages == [
        f"data.path: {own} holds what is not read: 1 .TXT ('c.TXT'), 2 .gz ('a.json.gz'), "
        "1 .parquet ('d.parquet'), 1 link ('folder'), 1 no suffix ('README')"
    ]


def test_a_link_out_of_the_folder_is_followed_and_named(own: Path, tmp_path: Path, caplog):
    (tmp_path / "outside.txt").write_text(sentence(1))
    (own / "link.txt").symlink_to(tmp_path / "outside.txt")
    (own / "inside.txt").symlink_to(own / "00.txt")
    assert {own / "link.txt", own / "inside.txt"} <= set(documents.text_files(own))
    assert caplog.messages == [
        f"data.path: of the files read in {own} are 1 from elsewhere, by a link ('link.txt')"
    ]


def test_a_name_that_is_not_utf8_is_named_in_one_line(own: Path, tmp_path: Path):
    try:
        Path(os.fsdecode(bytes(own) + b"/caf\xe9.txt")).touch()
    except OSError:
        pytest.skip("a file system of names in Unicode")
    with pytest.raises(UserError, match=r"the name b'.*/caf\\xe9\.txt' is not UTF-8: rename it"):
        prepare_corpus(settings_for(own), tmp_path / "corpus")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = DataSettings(corpus="text", path="~/texts", vocabulary_model="~/a.model")
    assert settings.path == f"{tmp_path}/texts"
    assert settings.vocabulary_model == f"{tmp_path}/a.model"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, r"data\.path: there is no folder .*/texts"),
        ({"image.png": "PNG"}, r"data\.path: no \.txt, \.jsonl, \.jsonl\.gz file in"),
        ({"0.txt": sentence(0), "1.txt": sentence(1)}, r"2 documents in 2 groups .* needs 3"),
    ],
)
def test_a_folder_of_too_little_is_named(tmp_path: Path, files: dict | None, message: str):
    if files is not None:
        (tmp_path / "texts").mkdir()
        for name, text in files.items():
            (tmp_path / "texts" / name).write_text(text)
    with pytest.raises(UserError, match=message):
        prepare_corpus(settings_for(tmp_path / "texts"), tmp_path / "corpus")


def test_a_folder_with_anything_else_in_it_is_not_replaced(texts: Path, tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"thesis\.tex, which was not made here"):
        prepare_corpus(settings_for(texts), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_record_file_that_was_cut_or_edited_is_named(texts: Path, tmp_path: Path):
    prepare_corpus(settings_for(texts), tmp_path / "corpus")
    path = next((tmp_path / "corpus").rglob("*train.array_record*"))
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(UserError, match=r"train\.array_record.*truncated.*`infwidth data corpus`"):
        open_documents(tmp_path / "corpus", "train")
    prepare_corpus(settings_for(texts), tmp_path / "corpus")
    # Past the file's header and the first records' own.
    path.write_bytes(content[:2000] + bytes(10) + content[2010:])
    with pytest.raises(UserError, match=r"array_record\S* is damaged \(its sha256 differs\)"):
        list(open_documents(tmp_path / "corpus", "train"))
