# SPDX-License-Identifier: Apache-2.0
"""A file of every kind is damaged: no other number, and no traceback."""

import subprocess
import sys

import pytest

from tests.workflow.conftest import finished as finished  # a fixture

pytestmark = pytest.mark.slow


def test_damage_of_every_kind_of_file_is_found(finished, tmp_path):
    words = ("--finished", str(finished.folder), "--project", str(tmp_path / "project"), "--one")
    command = [sys.executable, "-m", "tests.fuzz", *words]
    done = subprocess.run(command, env=finished.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
