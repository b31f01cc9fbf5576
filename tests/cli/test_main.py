"""The command line: what it offers, and how it fails."""

import os
import subprocess
import sys
import time

import pytest

from infwidth.cli import parent
from infwidth.cli.main import main

COMMANDS = [
    [],
    ["data"],
    ["data", "corpus"],
    ["data", "show"],
    ["tune"],
    ["train"],
    ["collect"],
    ["table"],
    ["figure"],
    ["status"],
    ["config", "check"],
    ["reproduce"],
    ["publish"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert "usage: infwidth" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["config", "check", "--config", "lm_widht={}"], "did you mean 'lm_width'"),
        (["config", "check", "--configfile", "nope.yaml"], "nope.yaml: no such configuration file"),
        (["tune", "--variant", "ntk", "--settings", "{"], "--settings is not JSON"),
        (["tune", "--variant", "ntk", "--tokens", "nowhere"], "nowhere"),
        (["train", "--variant", "ntk", "--widths", "4", "--selection", "no.json"], "infwidth tune"),
        (["figure", "fig1_loss_vs_width", "--measurements", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, line, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert line in error
    assert error.startswith("infwidth: ")
    assert error.count("\n") == 1


def test_the_light_commands_import_no_jax():
    code = (
        "import sys, infwidth.cli.main, infwidth.workflow, infwidth.experiments.lm_width_plan, "
        "infwidth.training.spec; assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_trainer_ends_when_its_workflow_dies():
    workflow = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    value = f"{parent.socket.gethostname()}:{workflow.pid}:"
    value += str(parent.psutil.Process(workflow.pid).create_time())
    trainer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time; from infwidth.cli.parent import end_with_workflow; "
            "end_with_workflow(0.05); time.sleep(600)",
        ],
        env={**os.environ, parent.VARIABLE: value},
    )
    time.sleep(1)
    assert trainer.poll() is None
    workflow.kill()
    workflow.wait()
    assert trainer.wait(timeout=30) != 0


@pytest.mark.parametrize("value", [None, "another-host:1:0.0"])
def test_a_trainer_started_by_hand_or_on_another_machine_watches_nobody(value, monkeypatch):
    if value is None:
        monkeypatch.delenv(parent.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(parent.VARIABLE, value)
    threads = parent.threading.active_count()
    parent.end_with_workflow(0.01)
    assert parent.threading.active_count() == threads
