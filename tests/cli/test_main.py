# SPDX-License-Identifier: Apache-2.0
"""The command line: what it offers, and how it fails."""

import errno
import os
import re
import subprocess
import sys
import time
from functools import reduce

import pytest

from infwidth.cli import main as command_line
from infwidth.cli import parent
from infwidth.cli.experiment import GROWS_WITH
from infwidth.cli.main import main
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.config.slices import SLICES

LONG = "1" * 5000


def commands_in(text):
    """The commands that a help lists: what stands first on the lines below COMMAND or ACTION."""
    lines = re.split(r"\n  (?:COMMAND|ACTION)\n", text)[1:]
    return re.findall(r"^    (\w+)", lines[0], re.MULTILINE) if lines else []


def test_every_command_says_what_it_does_and_its_defaults(infwidth, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    pending = [[]]
    seen = 0
    while pending:
        words = pending.pop()
        status, text, _ = infwidth.run(*words, "--help")
        assert status == 0
        usage, about, *_ = text.split("\n\n")
        assert usage.startswith(" ".join(["usage: infwidth", *words]))
        assert re.match(r"[A-Z].*\.$", about, re.DOTALL), words
        # An option that takes a value and may be left out says what it is then.
        for option in re.findall(r"\[(--\w+) [A-Z]", usage):
            (lines,) = re.findall(rf"^  {option} .*(?:\n {{9,}}.*)*", text, re.MULTILINE)
            assert "default" in lines, (words, option)
        pending += [[*words, command] for command in commands_in(text)]
        seen += 1
    assert seen > 25


def test_the_command_alone_prints_its_help(infwidth, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["infwidth"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    alone = capsys.readouterr().out
    assert alone == infwidth.run("--help")[1]
    assert {"data", "figure", "reproduce"} <= set(commands_in(alone))


def test_hyphens_stand_for_underscores_and_a_beginning_for_a_name():
    parse = command_line._parser().parse_args
    for name in ("fig1", "fig1-loss", "fig1_loss_vs_width"):
        assert parse(["figure", name]).which == "fig1_loss_vs_width"
    assert parse(["table", "table5"]).which == "table5_claims"
    assert parse(["gather", "feature-selection"]).experiment == "feature_selection"


def test_files_and_overrides_are_one_a_word_or_several_as_make_hands_them_over(tmp_path):
    spaced = tmp_path / "my own.yaml"
    spaced.write_text("name: mine")
    words = ["--configfile", "config/smoke.yaml config/mine.yaml", "--configfile", str(spaced)]
    parsed = command_line._parser().parse_args(["reproduce", *words, "--config", "c=1", "train"])
    assert parsed.configfile == ["config/smoke.yaml", "config/mine.yaml", str(spaced)]
    # A target may follow.
    assert (parsed.config, parsed.targets) == (["c=1"], ["train"])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["figure", "fig1_lost"], "no figure is called 'fig1_lost'; there are fig1_loss_vs_width,"),
        (["figure", "fig"], "'fig' may be fig1_loss_vs_width or "),
        (["gather", "feature"], "'feature' may be feature_selection or feature_support: write "),
        (["config", "check", "--config", "lm_widht={}"], "did you mean 'lm_width'"),
        (["config", "check", "--configfile", "nope.yaml"], "nope.yaml: no such configuration file"),
        (["gather", "memory", "--settings", "{"], "--settings is not the JSON of settings"),
        (["gather", "memory", "--settings", "[" * 9999], "settings (RecursionError: "),
        (["gather", "memory", "--settings", f'{{"n": {LONG}}}'], "(ValueError: Exceeds"),
        (["gather", "memory", "--settings", '{"trainig": {}}'], "(KeyError: 'trainig')"),
        (["gather", "memory", "--settings", "[]"], "settings (AttributeError: "),
        (["tune", "--part", "ntk-64", "--settings", "{"], "--settings is not the JSON of a job ("),
        (["tune", "--part", "ntk-64", "--tokens", "nowhere"], "nowhere"),
        (["train", "--part", "ntk-64", "--tuned", "no.json"], "no.json"),
        (["train", "--part", "ntk-64", "--tuned", "src"], "Is a directory"),
        (["tune", "--part", "ntk-63"], "--part ntk-63: lm_width has no such part; it has "),
        (["config", "check", "--config", "lm_width={seeds: [0"], "--config lm_width: not valid"),
        (["config", "check", "--configfile", "config"], "config: cannot be read (Is a directory)"),
        (["config", "check", "--config", "name=runs"], "results/runs/ has a use of its own"),
        (["figure", "fig1_loss_vs_width", "--measurements", "nowhere"], "nowhere"),
        (["reproduce", "--cores", "0"], "--cores 0: write how many, 1 or more, or all"),
        (["reproduce", "--cores", LONG], f"--cores {LONG}: write how many, 1 or more, or all"),
        (["reproduce", "--cores", "some"], "--cores some: write how many, 1 or more, or all"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, line, infwidth):
    assert line in infwidth.mistake(*words)


@pytest.fixture
def failing(infwidth, monkeypatch):
    """Commands that an error ends as they begin."""

    def fail_with(error):
        def fails(_):
            raise error

        monkeypatch.setattr(command_line, "_settings", fails)
        return infwidth

    return fail_with


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT]
)
def test_a_disk_that_cannot_be_written_to_is_one_line_and_status_2(number, failing):
    why = os.strerror(number)
    line = failing(OSError(number, why, "results/runs")).mistake("status")
    assert line == f"results/runs: {why}; mend that and run the same command again"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["measure", "optimizer_ablation", "--part", "base-ntk-256"],
            "measure optimizer_ablation base-ntk-256: out of memory; lower "
            "optimizer_ablation.width or optimizer_ablation.standard_widths or "
            "training.microbatch_tokens",
        ),
        (
            ["measure", "convergence", "--part", "sgd"],
            "measure convergence sgd: out of memory; lower convergence.widths or ",
        ),
        (
            ["train", "--part", "ntk-64"],
            "train lm_width ntk-64: out of memory; lower lm_width.widths or ",
        ),
        (["status"], "status: out of memory; end what else takes it"),
    ],
)
def test_where_memory_runs_out_the_line_names_the_arm_and_its_settings(words, line, failing):
    error = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
    assert failing(error).mistake(*words).startswith(line)


@pytest.mark.parametrize("command", GROWS_WITH)
def test_what_memory_grows_with_are_settings(command):
    assert command in (*SLICES, "tune", "train")
    for path in GROWS_WITH[command]:
        *sections, name = path.split(".")
        assert name in type(reduce(getattr, sections, Settings())).model_fields


def test_another_error_of_the_system_is_a_defect(failing):
    failing(OSError(errno.EBADF, "Bad file descriptor"))
    with pytest.raises(OSError, match="Bad file descriptor"):
        main(["status"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("the disk is full"), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 2),
        (OSError(errno.EBADF, "Bad file descriptor"), 1),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("a defect"), 1),
    ],
)
def test_a_process_that_shares_a_run_leaves_without_waiting_for_the_others(
    error, status, failing, monkeypatch, capsys
):
    class Left(BaseException):
        pass

    def leave(with_status):
        raise Left(with_status)

    failing(error)
    monkeypatch.setattr(command_line, "shares_a_run", lambda: True)
    monkeypatch.setattr(command_line.os, "_exit", leave)
    with pytest.raises(Left) as left:
        main(["status"])
    assert left.value.args == (status,)
    assert ("Traceback" in capsys.readouterr().err) == (status == 1)


def test_a_reader_that_goes_away_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "infwidth", "config", "check"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
@pytest.mark.parametrize("words", [("--version",), ("--help",), ("config", "check")])
def test_output_that_cannot_be_written_is_one_line(words):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "infwidth", *words], stdout=full, stderr=subprocess.PIPE
        )
    assert ended.returncode == 2
    assert ended.stderr.count(b"\n") == 1
    assert b"No space left on device" in ended.stderr


def test_the_light_commands_import_no_jax():
    code = (
        "import sys, infwidth.cli.main, infwidth.workflow, infwidth.experiments.lm_width.plan, "
        "infwidth.training.spec; assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def workflow():
    """A process to be watched, and when it started."""
    process = subprocess.Popen(["sleep", "600"])
    yield process, parent._start(parent.psutil.Process(process.pid))
    process.kill()
    process.wait()


def test_a_trainer_ends_when_its_workflow_dies(workflow):
    process, started = workflow
    code = (
        "import time; from infwidth.cli.parent import end_with_workflow; "
        "end_with_workflow(0.05); time.sleep(600)"
    )
    value = f"{parent.socket.gethostname()}:{process.pid}:{started}"
    trainer = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, parent.VARIABLE: value}
    )
    time.sleep(1)
    assert trainer.poll() is None
    process.kill()
    process.wait()
    assert trainer.wait(timeout=30) != 0


def test_a_step_of_the_clock_ends_no_trainer(workflow, monkeypatch):
    process, started = workflow
    found = parent._find(process.pid, started)
    if sys.platform == "linux":
        set_the_clock_on(monkeypatch)
        assert parent._find(process.pid, started) == found
    assert parent._find(process.pid, "0") is None
    assert parent._alive(found)
    process.kill()
    # Nobody has waited for it yet: a zombie.
    end = time.monotonic() + 30
    while parent._alive(found):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.wait()
    assert not parent._alive(found)
    assert parent._find(process.pid, started) is None


def set_the_clock_on(monkeypatch):
    """An hour on: psutil's times of start are ticks since boot, and Linux's time of boot moves."""
    process = parent.psutil.Process
    before = process().create_time()
    booted = parent.psutil.boot_time()
    monkeypatch.setattr(parent.psutil._pslinux, "boot_time", lambda: booted + 3600)
    assert process().create_time() == pytest.approx(before + 3600, abs=0.01)


@pytest.mark.parametrize("value", ["", "another-host:1:0"])
def test_a_trainer_started_by_hand_or_on_another_machine_watches_nobody(value, monkeypatch):
    monkeypatch.setenv(parent.VARIABLE, value)
    threads = parent.threading.active_count()
    parent.end_with_workflow(0.01)
    assert parent.threading.active_count() == threads
