# SPDX-License-Identifier: Apache-2.0
"""Every source file says its licence in SPDX's words."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINE = "SPDX-License-Identifier: Apache-2.0"
PATTERNS = ("*.py", "*.smk", "*.sh", "Snakefile", ".ci/run")


def sources():
    command = ["git", "-C", str(ROOT), "ls-files", *(f":(glob)**/{each}" for each in PATTERNS)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sorted(set(listed.splitlines()))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="which files are ours, git knows")
def test_every_source_file_names_its_licence():
    found = sources()
    assert {"Snakefile", "workflow/Snakefile", "envs/lock.sh"} <= set(found)
    assert len(found) > 300
    without = []
    for name in found:
        with (ROOT / name).open(encoding="utf-8") as file:
            head = [next(file, "") for _ in range(3)]
        if not any(line.strip() == f"# {LINE}" for line in head):
            without.append(name)
    assert without == []


def test_the_project_has_the_same_licence():
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").lstrip().startswith("Apache License")
