# SPDX-License-Identifier: Apache-2.0
"""Setting up: what is supported, and when an environment is built anew."""

import fcntl
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "envs").glob("*.lock"))


@pytest.fixture
def make_env(monkeypatch):
    spec = importlib.util.spec_from_file_location("make_env", ROOT / "envs/make_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def check(make_env, monkeypatch):
    """What a Python on a machine is told."""

    def told(version, system, machine):
        monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
        monkeypatch.setattr(platform, "system", lambda: system)
        monkeypatch.setattr(platform, "machine", lambda: machine)
        return make_env.check_platform()

    return told


@pytest.mark.parametrize(
    "given",
    [
        ((3, 10), "Linux", "x86_64"),
        ((3, 14), "Darwin", "arm64"),
        ((3, 12), "Windows", "AMD64"),
    ],
)
def test_what_is_not_supported_is_told_so_in_one_line(check, given):
    with pytest.raises(SystemExit) as ended:
        check(*given)
    assert "3.11 to 3.13" in ended.value.code
    assert "\n" not in ended.value.code


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_what_is_supported_passes(check, version):
    for machine in (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")):
        assert check(version, *machine) is None


def test_an_environment_is_built_again_when_its_lock_changes_and_only_then(
    make_env, monkeypatch, tmp_path
):
    (tmp_path / "envs").mkdir()
    for name in ("run", "dev"):
        (tmp_path / "envs" / f"{name}.lock").write_text("a==1\n")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    built = []

    def build(venv, lock):
        venv.mkdir(exist_ok=True)
        built.append((venv.name, lock.name))

    monkeypatch.setattr(make_env, "ROOT", tmp_path)
    monkeypatch.setattr(make_env, "build", build)

    def make(name):
        monkeypatch.setattr(sys, "argv", ["make_env.py", name])
        make_env.main()

    for name in ("run", "dev", "run", "dev"):
        make(name)
    assert built == [(".venv", "run.lock"), (".venv-dev", "dev.lock")]
    # What a record's lock is read from.
    assert (tmp_path / ".venv/infwidth-lock.txt").read_text().startswith("run.lock ")
    (tmp_path / "envs/run.lock").write_text("a==2\n")
    make("run")
    make("dev")
    assert built[2:] == [(".venv", "run.lock")]
    # Where nothing can be written, as in somebody else's checkout, what is built is enough.
    (tmp_path / ".venv.lock").unlink()
    (tmp_path / ".venv.lock").mkdir()
    make("run")
    (tmp_path / "envs/run.lock").write_text("a==3\n")
    with pytest.raises(SystemExit, match=r"^infwidth: .*/\.venv\.lock: Is a directory; mend that"):
        make("run")


@pytest.fixture
def folder(tmp_path) -> Path:
    """As much of a checkout as `make clean` looks at, with results and environments."""
    for name in ("envs/clean.py", "envs/find_python.sh", "Makefile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    for name in (*MADE, *KEPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


MADE = ("results/smoke/runs/a", "results/report.html", "paper_figures/a.pdf", ".snakemake/log/a")
KEPT = ("results/published/a", "results/README.md", "paper_figures/README.md", ".venv/bin/python")


def make(folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = ["make", "-C", str(folder), f"PYTHON={sys.executable}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_clean_takes_results_and_distclean_environments_too(folder):
    assert make(folder, "clean").returncode == 0
    assert [name for name in MADE if (folder / name).exists()] == []
    assert [name for name in KEPT if not (folder / name).exists()] == []
    assert make(folder, "distclean").returncode == 0
    assert not (folder / ".venv").exists()


def test_clean_of_a_folder_that_has_no_results(folder):
    shutil.rmtree(folder / "results")
    assert make(folder, "clean").returncode == 0
    shutil.rmtree(folder / "results")
    (folder / "results").touch()
    (line,) = make(folder, "clean").stderr.splitlines()[:-1]
    assert line.startswith("infwidth: ")
    assert line.endswith("results: File exists; mend that and run it again")


def test_clean_is_refused_while_a_workflow_runs(folder):
    with (folder / "results/.reproduce.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for target in ("clean", "distclean"):
            refused = make(folder, target)
            assert refused.returncode != 0
            assert refused.stderr.startswith("infwidth: a workflow runs in this folder")
    (folder / ".snakemake/locks").mkdir()
    (folder / ".snakemake/locks/0.output.lock").touch()
    assert make(folder, "clean").stderr.startswith("infwidth: Snakemake runs in this folder, or")
    assert [name for name in (*MADE, *KEPT) if not (folder / name).exists()] == []


def test_the_name_of_a_configuration_reaches_the_command_as_it_is(folder):
    name = "a b$(false)'\"{c}.yaml"
    program = folder / ".venv/bin/infwidth"
    program.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    program.chmod(0o755)
    (folder / "envs/make_env.py").touch()
    words = ("reproduce", "ENV=run", "CORES=1", f"CONFIG={name}")
    # Before the environment is made.
    assert f"CONFIG={name}: no such file" in make(folder, *words).stderr
    (folder / name).touch()
    output = make(folder, *words).stdout
    assert f"reproduce|--cores|1|--configfile|{name}|" in output


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_have_hashes_and_no_addresses(lock):
    text = lock.read_text()
    assert "://" not in text
    pins = re.findall(r"^([a-z0-9_.-]+(?:\[.*?\])?)==(\S+)", text, re.MULTILINE)
    assert len(pins) > 20
    hashed = re.findall(r"^\S+==[^\n]*\\\n\s+--hash=sha256:", text, re.MULTILINE)
    assert len(hashed) == len(pins)


@pytest.mark.parametrize("name", ["run", "dev", "cuda", "tpu"])
def test_locks_have_one_jax(name):
    text = (ROOT / f"envs/{name}.lock").read_text()
    assert re.search(r"^jax(\[.*?\])?==0\.10\.2\b", text, re.MULTILINE)
    assert re.search(r"^flax==0\.12\.8\b", text, re.MULTILINE)


def test_the_figures_need_no_training_code():
    text = (ROOT / "envs/figures.lock").read_text()
    assert not re.search(r"^(jax|jaxlib|flax|optax|snakemake)==", text, re.MULTILINE)


def test_the_locks_agree_on_what_they_share():
    def pins(name):
        text = (ROOT / f"envs/{name}.lock").read_text()
        return set(re.findall(r"^([a-z0-9_.-]+)==(\S+)", text, re.MULTILINE))

    # Of some packages there are two, for different versions of Python.
    assert pins("run") <= pins("dev")
    # So that `make figures` gives the bytes that the workflow published.
    assert pins("figures") <= pins("run")
