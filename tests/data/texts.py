# SPDX-License-Identifier: Apache-2.0
"""Tiny corpora for the tests."""

import json
import random
from pathlib import Path

_TEXT = """
the of and to in a that is was he for it with as his on be at by I
this had not are but from or have an they which one you were her all she there would their
we him been has when who will more no if out so said what up its about into than them
can only other new some could time these two may then do first any my now such like our over
man me even most made
"""
WORDS = _TEXT.split()


def write_texts(folder: Path, documents: int = 24, seed: int = 0) -> Path:
    """Documents of 60 to 400 random words, half as .txt and half as rows of one .jsonl."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(60, 400))) for _ in range(documents)]
    half = documents // 2
    for number, text in enumerate(texts[:half]):
        (folder / f"{number:02d}.txt").write_text(f"Ünïcode {number}.\n\n{text}\n", "utf-8")
    rows = [json.dumps({"text": text}) for text in texts[half:]]
    (folder / "rows.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    return folder
