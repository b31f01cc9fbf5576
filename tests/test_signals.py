# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM end a process, wherever it is."""

import signal
import subprocess
import sys
import time

import pytest

DEEP_IN_A_COMPILED_CALL = """
import jax, jax.numpy as jnp
loop = jax.jit(lambda x: jax.lax.while_loop(lambda x: x >= 0, lambda x: x + 1e-9, x))
loop.lower(jnp.float32(0)).compile()
print("begun", flush=True)
jax.block_until_ready(loop(jnp.float32(1)))
"""
IN_PYTHON = """
import time
print("begun", flush=True)
time.sleep(600)
"""
AS_A_COMMAND = """
import signal
import sys
# What a shell starts in the background ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from infwidth.cli import main
def _settings(_):
    {body}
main._settings = _settings
sys.argv = ["infwidth", "status"]
from infwidth.cli.entry import main
main()
"""
SAVING = """
import time
from infwidth.training.processes import sigterm_deferred
with sigterm_deferred() as stop:
    print("begun", flush=True)
    while not stop():
        time.sleep(0.05)
    print("saving", flush=True)
    time.sleep({seconds})
    print("saved", flush=True)
"""


@pytest.fixture
def begun():
    """Starts a command that does what some code does, and waits until it says that it began."""
    started = []

    def start(code):
        body = code.strip().replace("\n", "\n    ")
        process = subprocess.Popen(
            [sys.executable, "-c", AS_A_COMMAND.format(body=body)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "begun\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process):
    """Status of a process that must end by itself, and what it said."""
    status = process.wait(timeout=60)
    return status, process.stderr.read()


LINE = "infwidth: interrupted; run the same command again to go on\n"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("code", [IN_PYTHON, DEEP_IN_A_COMPILED_CALL])
def test_a_command_ends(begun, code, sent):
    process = begun(code)
    time.sleep(0.5)
    process.send_signal(sent)
    assert ended(process) == (130, LINE)


def test_what_saves_takes_its_time_and_repeats_are_one_wish(begun):
    process = begun(SAVING.format(seconds=6))
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    _, said = ended(process)
    assert process.stdout.read() == "saving\nsaved\n"
    assert said.count("SIGTERM: stopping as soon as") == 1


def test_a_second_wish_ends_even_what_saves(begun):
    process = begun(SAVING.format(seconds=600))
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "saving\n"
    time.sleep(1.2)
    process.send_signal(signal.SIGTERM)
    status, _ = ended(process)
    assert status == 130
