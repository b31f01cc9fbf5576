# SPDX-License-Identifier: Apache-2.0
"""Builds the wheel and tries it where nothing is installed but what the bare library declares.

The environment is made from envs/run.lock, hashes and all. In it the examples of README.md run, and
the commands whose packages are missing say so in one line.

Run it with the Python of an environment that has the lock: `.venv-dev/bin/python .ci/try_wheel.py`.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
# README.md's example at infinite width reads the digits from there; the library does not.
EXAMPLES_NEED = {"scikit-learn"}


def main() -> None:
    """Builds, installs and tries the wheel."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", name, cwd=ROOT)
        (wheel,) = folder.glob("*.whl")
        needed = closure({*library_needs(), *EXAMPLES_NEED})
        (folder / "needed.txt").write_text(locked(needed))
        venv.create(folder / "venv", with_pip=True)
        python = str(folder / "venv/bin/python")
        pip = (python, "-m", "pip", "--disable-pip-version-check")
        install = (*pip, "install", "--quiet", "--no-compile", "--no-deps")
        run(*install, "--require-hashes", "-r", str(folder / "needed.txt"))
        run(*install, str(wheel))
        run(*pip, "check")
        try_library(python, folder)
        try_commands(folder)
        size = wheel.stat().st_size / 1e6
        print(f"{wheel.name} ({size:.1f} MB), with {len(needed)} packages: sound")


def library_needs() -> set[str]:
    """What the project depends on, its extras aside."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {Requirement(line).name for line in project["dependencies"]}


def closure(names: set[str]) -> set[str]:
    """The names, and what they need here, as the metadata of this environment say."""
    found: set[str] = set()
    pending = {canonicalize_name(name) for name in names}
    while pending:
        name = pending.pop()
        found.add(name)
        for line in requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                pending |= {canonicalize_name(needed.name)} - found
    return found


def locked(names: set[str]) -> str:
    """The blocks of envs/run.lock for these packages; all of them must stand there."""
    blocks = re.split(r"^(?=\S)", (ROOT / "envs/run.lock").read_text(), flags=re.MULTILINE)
    by_name = {canonicalize_name(block.partition("==")[0]): block for block in blocks if block}
    return "".join(by_name[name] for name in sorted(names))


def try_library(python: str, folder: Path) -> None:
    """The three packages import, and the examples run, with nothing else there."""
    run(python, "-c", "import infwidth.optim, infwidth.kernels, infwidth.infinite", cwd=folder)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    if len(examples) < 2:
        sys.exit("README.md: its two examples are gone")
    for example in examples:
        run(python, "-W", "error", "-c", example, cwd=folder)


def try_commands(folder: Path) -> None:
    """A command that needs more says in one line what, and how to get it."""
    command = [str(folder / "venv/bin/infwidth"), "figure", "fig1_loss_vs_width"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    one_line = re.fullmatch(r"infwidth: the module '\w+' is not installed; .*\n", done.stderr)
    if done.returncode != 2 or not one_line:
        sys.exit(f"{' '.join(command)}: status {done.returncode}, {done.stderr}")


def run(*command: str, cwd: Path | None = None) -> None:
    """Runs a command, or stops with what it printed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)[:200]}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
