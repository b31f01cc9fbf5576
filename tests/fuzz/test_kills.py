# SPDX-License-Identifier: Apache-2.0
"""A kill of each that makes data or tunes: in full it is `python -m tests.fuzz.kills`."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_a_command_that_is_killed_and_begun_again_makes_the_same_bytes():
    words = ("--kills", "3", "corpus", "tokenization", "tuning")
    command = [sys.executable, "-m", "tests.fuzz.kills", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("as undisturbed") >= 3
