# SPDX-License-Identifier: Apache-2.0
"""Every kind of stored file, the commands that read it, and the numbers that they make of it.

Paths are those of the default configuration's name, `results/...`.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from infwidth.catalogue import FIGURES, TABLES
from infwidth.cli.main import main
from infwidth.experiments.registry import BENCHES, IN_PARTS, STUDIES
from infwidth.stored import load_json, load_table
from infwidth.training.records import read_record

SMOKE = ("--configfile", "config/smoke.yaml", "--config", "name=default")
TIMES = ("device_seconds", "seconds", "tokens_per_s")
Words = tuple[str, ...]


class Kind(NamedTuple):
    """Files that are alike.

    Attributes:
        files: patterns of their paths.
        reads: commands that read them, in turn until one fails; those that name a folder of the
            file's, if any do.
        numbers: what those make, from the project's folder.
        touches: folders that the commands, or making the file anew, write to.
        makes: commands that make the file anew where it was set aside; those that name it, if any.
        first: makes the commands need the file.
    """

    files: tuple[str, ...]
    reads: tuple[Words, ...]
    numbers: Callable[[], Any]
    touches: tuple[str, ...]
    makes: tuple[Words, ...] = ()
    first: Callable[[], None] = lambda: None


def _digests(*folders: str) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.suffix != ".damaged"
    }


def tables_in(folder: str | Path) -> dict[str, Any]:
    """What tables and JSON files of a folder hold, but for times."""
    return _frames(folder) | {p.name: load_json(p) for p in sorted(Path(folder).glob("*.json"))}


def _frames(folder: str | Path) -> dict[str, Any]:
    return {
        p.name: load_table(p).drop(columns=list(TIMES), errors="ignore").to_csv()
        for p in sorted(Path(folder).glob("*.parquet"))
    }


def _runs() -> dict[str, Any]:
    """Numbers of the runs of one variant, but for times."""
    return {key: _timeless(read_record(Path("results/runs") / key)) for key in _keys()}


def _timeless(record: Any) -> Any:
    if record is None:
        return None
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in record.rows]
    return {k: v for k, v in record.result.items() if k not in TIMES}, rows, record.settings


def _keys() -> list[str]:
    """Of the reported runs of one variant, as they were before anything was damaged."""
    made = load_json(Path(f"kept/results/lm_width/parts/{PART}.json"))
    return [e["key"] for e in made["parts"][0]["entries"] if e["role"] == "report"]


def _forget_a_run() -> None:
    shutil.rmtree(Path("results/runs") / _keys()[0])


def _unfinish_a_run() -> None:
    (Path("results/runs") / _keys()[0] / "result.json").unlink()


def _first_run(*names: str) -> tuple[str, ...]:
    return tuple(f"results/runs/{_keys()[0]}/{name}" for name in names)


TOKENIZE: Words = ("data", "tokenize", *SMOKE)
PART = "ntk-4-and-1-more"
TUNE: Words = ("tune", "--part", PART, *SMOKE)
TRAIN: Words = ("train", "--part", PART, *SMOKE)
COLLECT: Words = ("gather", "lm_width", *SMOKE)
OTHER = ("--vocabulary", "results/data/other_vocabulary", "--out", "results/data/other_tokens")
SUBWORDS = ("--config", "data={vocabulary: sentencepiece, vocabulary_size: 512}")
OTHER_VOCABULARY: Words = ("data", "vocabulary", "--out", OTHER[1], *SMOKE, *SUBWORDS)
PUBLISH: Words = ("publish", *SMOKE)
CLAIMS: Words = ("claims", *SMOKE)
GATHERS: tuple[Words, ...] = tuple(("gather", name, *SMOKE) for name in IN_PARTS)
DIGITS = tuple(name for name in BENCHES if name != "memory")


def kinds() -> dict[str, Kind]:
    """All kinds by name; the project's folder is the current one, its state `kept` beside it."""
    runs = ("results/runs", "results/lm_width")
    tables = tuple(f"results/{name}/measurements" for name in IN_PARTS)
    return {
        "corpus": Kind(
            ("results/data/corpus/**/*",),
            (TOKENIZE,),
            lambda: _digests("results/data/tokens"),
            ("results/data",),
            (("data", "corpus", *SMOKE),),
        ),
        "vocabulary": Kind(
            ("results/data/other_vocabulary/*",),
            (TOKENIZE + OTHER,),
            lambda: _digests("results/data/other_tokens"),
            ("results/data",),
            (OTHER_VOCABULARY,),
        ),
        "tokens": Kind(
            ("results/data/tokens/*.tokens.npy", "results/data/tokens/*.bounds.npy"),
            (TRAIN,),
            _runs,
            ("results/data", *runs),
            (TOKENIZE,),
            _forget_a_run,
        ),
        "manifest of tokens, names": Kind(
            ("results/data/tokens/*.json*",),
            (("data", "show", *SMOKE), COLLECT),
            lambda: tables_in("results/lm_width/measurements"),
            ("results/data", *runs),
            (TOKENIZE,),
        ),
        "chosen rates": Kind(
            (f"results/lm_width/tuning/{PART}.json",),
            (TRAIN, COLLECT),
            lambda: (_runs(), tables_in("results/lm_width/measurements")),
            runs,
            (TUNE,),
        ),
        "entries of runs": Kind(
            (f"results/lm_width/parts/{PART}.json",),
            (COLLECT,),
            lambda: tables_in("results/lm_width/measurements"),
            runs,
            (TRAIN,),
        ),
        "settings, metrics and result of a run": Kind(
            _first_run("settings.json", "metrics.jsonl", "result.json"),
            (COLLECT,),
            _runs,
            runs,
            (TUNE, TRAIN),
        ),
        "the same, found by training": Kind(
            _first_run("settings.json", "metrics.jsonl", "result.json"),
            (TRAIN,),
            _runs,
            runs,
        ),
        "metrics of a run that goes on": Kind(
            _first_run("metrics.jsonl"), (TRAIN,), _runs, runs, first=_unfinish_a_run
        ),
        "checkpoints": Kind(
            _first_run("checkpoints/20/**/*"), (TRAIN,), _runs, runs, first=_unfinish_a_run
        ),
        "entries of other experiments": Kind(
            tuple(f"results/{name}/parts/*.json" for name in IN_PARTS),
            GATHERS,
            lambda: [tables_in(folder) for folder in tables],
            tuple(f"results/{name}" for name in IN_PARTS),
        ),
        "parts on digits": Kind(
            tuple(f"results/{name}/parts/*.parquet" for name in DIGITS),
            tuple(("gather", name, *SMOKE) for name in DIGITS),
            # The experiments that are not measured again have records of the smoke configuration.
            lambda: [_frames(f"results/{name}/measurements") for name in DIGITS],
            tuple(f"results/{name}" for name in DIGITS),
        ),
        "measurements": Kind(
            (
                *(f"results/{name}/measurements/*" for name in (*DIGITS, *IN_PARTS[:3])),
                *(f"results/{name}/measurements/*" for name in ("lm_width", "memory")),
            ),
            (CLAIMS,),
            lambda: load_json(Path("results/claims.json")),
            (
                *(f"results/{name}/measurements" for name in (*DIGITS, *IN_PARTS[:3])),
                *(f"results/{name}/measurements" for name in ("lm_width", "memory")),
            ),
        ),
        "measurements of studies": Kind(
            tuple(f"results/{name}/measurements/*" for name in STUDIES),
            tuple(("table", name, *SMOKE) for name in _table_names_of_studies()),
            lambda: _digests("results/tables"),
            (*(f"results/{name}/measurements" for name in STUDIES), "results/tables"),
        ),
        "figures, tables and claims": Kind(
            ("paper_figures/*", "results/tables/*", "results/claims.*"),
            (("pages", *SMOKE), PUBLISH),
            # Records say who drew what, and another commit may draw it again.
            lambda: {k: v for k, v in _digests("results/published").items() if ".json" not in k},
            ("paper_figures", "results/tables", "results/published", "results/pages"),
            (
                CLAIMS,
                *(("table", name, *SMOKE) for name in TABLES),
                *(("figure", name, *SMOKE) for name in FIGURES),
            ),
        ),
        "published": Kind(
            ("results/published/**/*",),
            (
                ("redraw", "table1_final_loss"),
                ("runs", "import", "results/published/runs.tar.xz", *SMOKE),
            ),
            lambda: (_digests("results/redrawn"), _runs()),
            ("results/published", "results/redrawn", "results/runs"),
            (),
            _forget_a_run,
        ),
    }


def _table_names_of_studies() -> list[str]:
    return [name for name, experiment in TABLES.items() if experiment in STUDIES]


def run(words: Words) -> int:
    """Runs a command in this process, and gives its status."""
    try:
        main(words)
    except SystemExit as ended:
        return int(ended.code or 0)
    raise AssertionError("a command always exits")
