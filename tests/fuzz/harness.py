# SPDX-License-Identifier: Apache-2.0
"""Damages one stored file at a time, and sees what the commands that read it make of that.

Outcomes: `found` (a line names the file, and it is made again or the command fails), `harmless`
(the same numbers, and no word), `unnamed` (it fails with a line that does not name the file),
`stuck` (named and set aside, but not made again), `silent` (other numbers), `traceback`.
"""

import contextlib
import io
import logging
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infwidth.stored import load_json
from tests.fuzz.kinds import (
    CLAIMS,
    OTHER,
    OTHER_VOCABULARY,
    PUBLISH,
    SMOKE,
    TOKENIZE,
    Kind,
    kinds,
    run,
    tables_in,
)

FLIPS, CUTS, DELETIONS = 50, 10, 1
MADE_AGAIN = 3
"""Of each kind, what is found so often is made again, too."""
_BEFORE = (OTHER_VOCABULARY, TOKENIZE, TOKENIZE + OTHER, CLAIMS, PUBLISH)
"""What makes the files that the smoke configuration does not, or makes elsewhere."""
OUTCOMES = ("found", "harmless", "unnamed", "stuck", "silent", "traceback")


def prepare(finished: Path, folder: Path) -> None:
    """Makes a project of the finished smoke configuration, under the default one's name."""
    shutil.copytree(finished, folder, symlinks=True)
    for place in ("results", "paper_figures"):
        for path in (folder / place / "smoke").iterdir():
            path.rename(folder / place / path.name)
    with contextlib.chdir(folder):
        for words in _BEFORE:
            said, error = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(error):
                status = run(words)
            assert status == 0, (words, error.getvalue())
        (folder / "kept").mkdir()
        for place in ("results", "paper_figures"):
            shutil.copytree(
                place, Path("kept") / place, ignore=shutil.ignore_patterns("compile_cache")
            )


def fuzz(
    folder: Path, chosen: list[str], trials: tuple[int, int, int] | None, seed: int
) -> Iterator[tuple[str, str, str, str]]:
    """Damages files of a prepared project.

    Args:
        folder: what `prepare` has made.
        chosen: kinds by name; all if it is empty.
        trials: numbers of flipped bits, cuts and deletions of each kind; None for one, which is a
            flipped bit or a cut by turns.
        seed: chooses files and places.

    Yields:
        Kind, damage and file, outcome, and what was said.
    """
    with contextlib.chdir(folder):
        known = kinds()
        for number, name in enumerate(chosen or known):
            kind = known[name]
            _restore(kind)
            expected = _numbers(kind)
            assert expected is not None, f"{name}: {_LAST.getvalue()}"
            randomly = random.Random(f"{seed} {name}")
            files = _files(kind)
            flips, cuts, deletions = trials or (1 - number % 2, number % 2, 0)
            remade = 0
            for damage in ("flip",) * flips + ("cut",) * cuts + ("delete",) * deletions:
                path = randomly.choice(files)
                outcome = _trial(kind, path, damage, randomly, expected, remade < MADE_AGAIN)
                remade += outcome == "found"
                yield name, f"{damage} {path}", outcome, _LAST.getvalue()
            # As the next kind expects it.
            _restore(kind._replace(first=lambda: None))


_LAST = io.StringIO()


def _files(kind: Kind) -> list[Path]:
    """Files of a kind, the like of each other once."""
    found = sorted({p for pattern in kind.files for p in Path("kept").glob(pattern)})
    return [p.relative_to("kept") for p in found if p.is_file() and p.stat().st_size]


def _restore(kind: Kind) -> None:
    for place in {*kind.touches, "results/claims.json", "results/claims.md"}:
        kept = Path("kept") / place
        if kept.is_file():
            shutil.copy(kept, place)
            continue
        shutil.rmtree(place, ignore_errors=True)
        if kept.is_dir():
            # No command writes into a file that is there, except rows to one that it wrote itself.
            shutil.copytree(kept, place, copy_function=os.link)
    kind.first()


def _trial(
    kind: Kind, path: Path, damage: str, randomly: random.Random, expected: Any, again: bool
) -> str:
    _restore(kind)
    if len(kind.reads) > 1 and all(words[0] == "gather" for words in kind.reads):
        # Of several experiments, the one that the file is of.
        kind = kind._replace(reads=tuple(w for w in kind.reads if w[1] == path.parts[1]))
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "flip":
        bit = randomly.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
    elif damage == "cut":
        del content[randomly.randrange(len(content)) :]
    if damage != "delete":
        path.write_bytes(content)
    try:
        got = _numbers(kind)
        words = _LAST.getvalue()
        named = path.name in words or _step_folder(path) in words
        if got == expected:
            return "found" if named else "harmless"
        if got is not None:
            return "silent"
        if not named:
            return "unnamed"
        if not (again and kind.makes):
            return "found"
        of_its_name = tuple(words for words in kind.makes if path.stem in words)
        for command in of_its_name or kind.makes:
            if _run(command):
                return "stuck"
        return "found" if _numbers(kind) == expected else "stuck"
    except Exception as error:
        _LAST.write(repr(error))
        return "traceback"


def _step_folder(path: Path) -> str:
    """Of a checkpoint's file its folder, which is what is named and moved aside; else the path."""
    if "checkpoints" not in path.parts:
        return str(path)
    return "/".join(path.parts[: path.parts.index("checkpoints") + 2])


def _numbers(kind: Kind) -> Any:
    """The numbers that the reading commands make; None if one fails."""
    _LAST.seek(0)
    _LAST.truncate()
    return None if any(_run(words) for words in kind.reads) else kind.numbers()


def _run(words: tuple[str, ...]) -> int:
    handler = logging.StreamHandler(_LAST)
    logging.getLogger("infwidth").addHandler(handler)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(_LAST):
            return run(words)
    finally:
        logging.getLogger("infwidth").removeHandler(handler)


def table(results: list[tuple[str, str, str, str]]) -> str:
    """The outcomes by kind, as text."""
    names = list(dict.fromkeys(name for name, *_ in results))
    width = max(map(len, names))
    lines = [" ".join([f"{'':{width}}", *(f"{outcome:>9}" for outcome in OUTCOMES)])]
    for name in names:
        counts = Counter(outcome for kind, _, outcome, _ in results if kind == name)
        lines.append(" ".join([f"{name:{width}}", *(f"{counts[each]:9d}" for each in OUTCOMES)]))
    return "\n".join(lines)


def sound(outcome: str) -> bool:
    """Whether an outcome is as it should be."""
    return outcome in ("found", "harmless")


RERUNS = {
    # By file, what is deleted so that a job reads it.
    "lm_width/parts/ntk-4-and-1-more.json": "lm_width/measurements/runs.parquet",
    "lm_width/tuning/ntk-4-and-1-more.json": "lm_width/parts/ntk-4-and-1-more.json",
    "lm_width/measurements/runs.parquet": "tables/table1_final_loss.csv",
    "runs/{key}/metrics.jsonl": "lm_width/measurements/runs.parquet",
    "runs/{key}/settings.json": "lm_width/measurements/runs.parquet",
    "data/vocabulary/vocabulary.json": "data/tokens/manifest.json",
    "data/tokens/test.names.jsonl": "lm_width/measurements/runs.parquet",
    "data/tokens/test.tokens.npy": "runs/{key}/result.json",
    "ladder/parts/*.json": "ladder/measurements/runs.parquet",
    "convergence/parts/*.parquet": "convergence/measurements/curves.parquet",
}


def rerun(checkout: Any, damaged: str, deleted: str, seed: int) -> tuple[str, str]:
    """Damages a file of a finished workflow, and runs that again until it ends well.

    Args:
        checkout: with the finished smoke configuration, in which this works.
        damaged: pattern of the file.
        deleted: an output, so that a job reads the file.
        seed: chooses the bit.

    Returns:
        The outcome, and how often the workflow was run.
    """
    home = checkout.folder / "results/smoke"
    entries = load_json(home / "lm_width/parts/ntk-4-and-1-more.json")["parts"][0]["entries"]
    key = entries[0]["key"]
    path = sorted(home.glob(damaged.format(key=key)))[0]
    folders = sorted(home.glob("*/measurements"))
    before = [tables_in(folder) for folder in folders]
    content = bytearray(path.read_bytes())
    bit = random.Random(f"{seed} {damaged}").randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    (home / deleted.format(key=key)).unlink()
    for times in range(1, 5):
        process = checkout.start("snakemake", "--cores", "2", *SMOKE[:2])
        output, _ = process.communicate()
        if not process.returncode:
            same = [tables_in(folder) for folder in folders] == before
            return ("found" if same else "silent"), f"{times} runs"
    return "stuck", output
