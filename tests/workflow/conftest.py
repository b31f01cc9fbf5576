# SPDX-License-Identifier: Apache-2.0
"""A checkout of its own in which the smoke configuration was run once."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.once import once

ROOT = Path(__file__).parents[2]
PARTS = (
    *("workflow", "config", "profiles", "envs", "src"),
    *("Snakefile", "pyproject.toml", "README.md"),
)


class Checkout:
    """A copy of the project in which the workflow can be run and the code be edited."""

    def __init__(self, folder: Path):
        self.folder = folder
        # The copy's code, not the one that is installed.
        self.environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}
        self.environment.pop("INFWIDTH_WORKFLOW", None)
        # Compiling takes most of the smoke configuration's time: checkouts share what is compiled.
        shared = Path(tempfile.gettempdir()) / f"infwidth-tests-{os.getuid()}"
        self.environment["JAX_COMPILATION_CACHE_DIR"] = str(shared)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", *words]

    def start(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, status: int = 0) -> str:
        process = self.start(*words)
        output, _ = process.communicate(timeout=900)
        assert process.returncode == status, output
        return output

    def snakemake(self, *words: str, status: int = 0) -> str:
        # Last, since --configfile would take a target that follows for one more file.
        smoke = ("--cores", "2", "--configfile", "config/smoke.yaml")
        return self.run("snakemake", *words, *smoke, status=status)

    def planned(self, *words: str) -> dict[str, int]:
        """The jobs that a dry run plans, by rule."""
        return jobs_of(self.snakemake("-n", *words))

    def planned_by_default(self, *words: str) -> dict[str, int]:
        """The same of the default configuration."""
        return jobs_of(self.run("snakemake", "-n", "--cores", "2", *words))

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1))

    def lm_width_keys(self) -> set[str]:
        """The keys of the runs of the paper's experiment."""
        files = (self.folder / "results/smoke/lm_width/parts").glob("*.json")
        parts = [part for file in files for part in json.loads(file.read_text())["parts"]]
        return {entry["key"] for part in parts for entry in part["entries"]}

    def results(self) -> dict[str, float]:
        """Every run's result, by key, with the time it was written."""
        files = (self.folder / "results/smoke/runs").glob("*/result.json")
        return {file.parent.name: file.stat().st_mtime_ns for file in files}


def jobs_of(output: str) -> dict[str, int]:
    """The number of jobs by rule, from what a dry run prints."""
    table = re.search(r"Job stats:\n.*?\n-+.*?\n(.*?)\n\n", output, re.DOTALL)
    if table is None:
        assert "Nothing to be done" in output, output
        return {}
    rows = [line.split() for line in table[1].splitlines()]
    return {name: int(count) for name, count in rows if name not in ("total", "all", "reproduce")}


def copy_project(folder: Path) -> Checkout:
    folder.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder / part)
    return Checkout(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Checkout:
    """The smoke configuration, run to its end; tests take copies of it."""
    return Checkout(
        once(tmp_path_factory, "finished", lambda folder: copy_project(folder).snakemake())
    )


@pytest.fixture
def checkout(finished, tmp_path) -> Checkout:
    """A copy, times of files included, of the finished checkout."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return Checkout(tmp_path / "project")


@pytest.fixture
def fresh(tmp_path) -> Checkout:
    """A checkout in which nothing was run."""
    return copy_project(tmp_path / "fresh")
