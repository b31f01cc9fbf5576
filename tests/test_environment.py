# SPDX-License-Identifier: Apache-2.0
"""Setting up: what is supported, and when an environment is built anew."""

import importlib.util
import platform
import re
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


@pytest.mark.parametrize(
    ("version", "machine"),
    [
        ((3, 10), ("Linux", "x86_64")),
        ((3, 14), ("Darwin", "arm64")),
        ((3, 12), ("Windows", "AMD64")),
    ],
)
def test_what_is_not_supported_is_told_so_in_one_line(make_env, monkeypatch, version, machine):
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    monkeypatch.setattr(platform, "system", lambda: machine[0])
    monkeypatch.setattr(platform, "machine", lambda: machine[1])
    with pytest.raises(SystemExit) as ended:
        make_env.check_platform()
    assert "3.11 to 3.13" in ended.value.code
    assert "\n" not in ended.value.code


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
@pytest.mark.parametrize(
    "machine", [("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")]
)
def test_what_is_supported_passes(make_env, monkeypatch, version, machine):
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    monkeypatch.setattr(platform, "system", lambda: machine[0])
    monkeypatch.setattr(platform, "machine", lambda: machine[1])
    assert make_env.check_platform() is None


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
    (tmp_path / "envs/run.lock").write_text("a==2\n")
    make("run")
    make("dev")
    assert built[2:] == [(".venv", "run.lock")]


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
