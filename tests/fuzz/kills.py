# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.fuzz.kills`: SIGKILL at any moment of any stage, and the bytes are the same.

A command is killed, and begun again, some times; then it runs to its end, and all that it made is
compared with what it made undisturbed.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infwidth.catalogue import FIGURES, TABLES
from infwidth.config.load import read_config, validate
from infwidth.experiments.study import jobs_of
from tests.data.texts import write_texts
from tests.workflow.conftest import ROOT, Checkout, copy_project

SMOKE = ("--configfile", "config/smoke.yaml")
OVER = ("name=default", "experiments=[lm_width]", "data={corpus: text, path: texts}")
IN_A_ROW = 4
ENDINGS = ("csv", "md", "tex", "json")
TIMES = ("device_seconds", "seconds", "tokens_per_s", "own_sha256")
"""What differs from run to run, and the digest of a file that has it."""
TRAINED = {"tuning": ("trunk", "tuning", "check"), "training": ("one_rate", "report")}
"""By stage, the roles of the runs that it trains."""
Command = tuple[str, ...]


def stages() -> dict[str, dict[Command, list[str]]]:
    """By stage, in their order, its commands, each with the files and folders that it makes."""
    os.chdir(ROOT)
    jobs = jobs_of("lm_width", validate(read_config([SMOKE[1]], OVER)))
    figures = [name for name in FIGURES if FIGURES[name] == "lm_width"]
    tables = [name for name in TABLES if TABLES[name] == "lm_width"]
    return {
        "corpus": {("data", "corpus"): ["results/data/corpus"]},
        "vocabulary": {("data", "vocabulary"): ["results/data/vocabulary"]},
        "tokenization": {("data", "tokenize"): ["results/data/tokens"]},
        **{
            stage: {
                (command, "--part", name): [f"results/lm_width/{folder}/{name}.json"]
                for name in jobs
            }
            for stage, command, folder in (
                ("tuning", "tune", "tuning"),
                ("training", "train", "parts"),
            )
        },
        "gathering": {("gather", "lm_width"): ["results/lm_width/measurements"]},
        "claims": {("claims",): ["results/claims.json", "results/claims.md"]},
        "figures": {
            ("figure", name): [f"paper_figures/{name}.{end}" for end in ("pdf", "png", "json")]
            for name in figures
        },
        "tables": {
            ("table", name): [
                f"results/tables/{name}.{end}" for end in ("csv", "md", "tex", "json")
            ]
            for name in (*tables, "table5_claims")
        },
        "publishing": {("publish",): ["results/published"]},
    }


class Project(Checkout):
    """A checkout in which commands are run and killed."""

    def begin(self, command: Command) -> subprocess.Popen:
        overrides = (word for value in OVER for word in ("--config", value))
        return self.start("infwidth", *command, *SMOKE, *overrides)

    def finish(self, command: Command) -> float:
        """Runs a command to its end; returns the seconds that it took."""
        began = time.monotonic()
        process = self.begin(command)
        said, _ = process.communicate(timeout=900)
        assert process.returncode == 0, (command, said)
        return time.monotonic() - began

    def kill(self, command: Command, after: float) -> bool:
        """Kills a command, and all that it started; says whether it was not done before."""
        process = self.begin(command)
        try:
            process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return True
        assert process.returncode == 0, command
        return False

    def runs_of(self, stage: str, made: list[str]) -> list[str]:
        """The folders of the runs that a stage trains; others' are named in what it writes, too."""
        if stage not in TRAINED:
            return []
        parts = [p for f in made for p in json.loads((self.folder / f).read_text())["parts"]]
        # A run that is reported may be one at the rate of another width, too.
        keys = {
            entry["key"]: None
            for part in parts
            for entry in part["entries"]
            if entry["role"] in TRAINED[stage]
        }
        return [f"results/runs/{key}" for key in keys]

    def state(self, made: list[str]) -> dict[str, Any]:
        """What lies there, by file, but for times, locks and checkpoints."""
        roots = [self.folder / path for path in made]
        files = [file for root in roots for file in (root, *root.rglob("*")) if file.is_file()]
        return {
            name: _timeless(file)
            for file in files
            if not (name := file.relative_to(self.folder).as_posix()).endswith("lock")
            and "checkpoints" not in name
        }


def _timeless(file: Path) -> Any:
    if file.suffix not in (".json", ".jsonl"):
        return file.read_bytes()
    return [_without_times(json.loads(line)) for line in _values(file)]


def _values(file: Path) -> list[str]:
    text = file.read_text()
    return text.splitlines() if file.suffix == ".jsonl" else [text]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def kills(
    folder: Path, asked: list[str], count: int, seed: int
) -> Iterator[tuple[str, int, list[str]]]:
    """Kills commands of the stages asked for, in turn, until so many kills have hit.

    Yields:
        (stage, kills before the command was done, the files that are other than undisturbed).
    """
    project = Project(copy_project(folder).folder)
    write_texts(folder / "texts", documents=60)
    known = stages()
    last = max(list(known).index(name) for name in asked)
    seconds = {}
    for commands in list(known.values())[: last + 1]:
        for command in commands:
            seconds[command] = project.finish(command)
    dice, hit, turn = random.Random(seed), 0, 0
    while hit < count:
        stage, turn = asked[turn % len(asked)], turn + 1
        command = dice.choice(sorted(known[stage]))
        made = known[stage][command]
        made = made + project.runs_of(stage, made)
        before = project.state(made)
        aside = Path(tempfile.mkdtemp(dir=folder.parent))
        for path in made:
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).rename(aside / path)
        hits = 0
        while hits < min(IN_A_ROW, -(-count // len(asked)), count - hit):
            if not project.kill(command, dice.uniform(0.2, 1) * seconds[command]):
                break
            hits += 1
        project.finish(command)
        hit += hits
        after = project.state(made)
        names = sorted(before.keys() | after.keys())
        yield stage, hits, [n for n in names if before.get(n) != after.get(n)]
        for path in made:
            # With its times, which later stages have read.
            _remove(folder / path)
            (aside / path).rename(folder / path)
        shutil.rmtree(aside)


def main() -> int:
    """Prints a row a stage; 1 where something came out otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", help="such as corpus or training; all by default")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    hits: Counter[str] = Counter()
    other: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        asked = args.stages or list(stages())
        for stage, count, changed in kills(Path(folder) / "project", asked, args.kills, args.seed):
            hits[stage] += count
            other[stage] += bool(changed)
            said = f"OTHERWISE: {', '.join(changed)}" if changed else "as undisturbed"
            print(f"{stage}: {count} kills: {said}", flush=True)
    print(f"{'stage':<14}{'kills':>6}{'otherwise':>11}")
    for stage in hits:
        print(f"{stage:<14}{hits[stage]:>6}{other[stage]:>11}")
    print(f"{'all':<14}{hits.total():>6}{other.total():>11}")
    return int(any(other.values()))


if __name__ == "__main__":
    sys.exit(main())
