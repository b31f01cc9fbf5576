# SPDX-License-Identifier: Apache-2.0
import json
import os
from pathlib import Path

import pytest

from infwidth.cli.main import main

SETTINGS = """
training: {steps: 20, warmup_steps: 2, log_every: 5, checkpoint_every: 10}
lm_width:
  variants: [ntk, constant]
  widths: [4, 8, 16]
  parts_per_job: 2
  reference_width: 4
  one_rate_seeds: 1
  seeds: [10, 11]
  tuning: {seeds: [0], learning_rates: [0.1, 1.0], race_margin: null, trunk_factors: [0.333]}
"""


class Commands:
    """Runs commands in the folder that the tests run in."""

    def __init__(self, capsys: pytest.CaptureFixture[str]):
        self._capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        """Runs a command: its status, what it prints, and its errors."""
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = self._capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    def mistake(self, *words: str) -> str:
        """The one line with which a command ends that cannot be done, after `infwidth: `."""
        status, _, error = self.run(*words)
        assert (status, error.count("\n")) == (2, 1), error
        assert error.startswith("infwidth: ")
        return error.removeprefix("infwidth: ").removesuffix("\n")


class Project(Commands):
    """A folder with settings and tokens in name only, in which commands run."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]):
        super().__init__(capsys)
        self.folder = folder
        self.write("config/config.yaml", SETTINGS)
        manifest = {"files": {}, "digest": "d", "vocabulary": {"size": 258}}
        self.write("results/data/tokens/manifest.json", json.dumps(manifest))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def infwidth(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Project:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "JAX_PLATFORMS", "cpu")
    return Project(tmp_path, capsys)
