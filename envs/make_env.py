# SPDX-License-Identifier: Apache-2.0
"""Builds an environment from its lock, by uv or else pip; again only when the lock changes.

Usage: python envs/make_env.py NAME, for envs/NAME.lock. Needs the standard library alone. `run`,
`cuda` and `tpu` are built in .venv, each of the others in a folder of its own, as .venv-dev, so
that `make test` and `make figures` leave alone what a running workflow stands on.
"""

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted(path.stem for path in (ROOT / "envs").glob("*.lock"))
RUNNERS = ("run", "cuda", "tpu")
BARE = ("docs",)
"""Those that read the project's sources and do not install it."""
SUPPORTED = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")}


def main() -> None:
    """Builds the environment that the command line names."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    lock = ROOT / "envs" / f"{name}.lock"
    if not lock.is_file():
        sys.exit(f"usage: python envs/make_env.py {'|'.join(LOCKS)}")
    check_platform()
    venv = ROOT / (".venv" if name in RUNNERS else f".venv-{name}")
    wanted, built = stamp(lock), venv / "infwidth-lock.txt"
    if is_built(built, wanted):
        return
    try:
        with (ROOT / ".venv.lock").open("w") as guard:
            # Two builds at once would spoil each other; the kernel frees the lock of one that dies.
            fcntl.flock(guard, fcntl.LOCK_EX)
            if not is_built(built, wanted):
                built.unlink(missing_ok=True)
                build(venv, lock)
                built.write_text(wanted)
    except OSError as error:
        sys.exit(f"infwidth: {error.filename}: {error.strerror}; mend that and run it again")


def is_built(built: Path, wanted: str) -> bool:
    """Whether an environment is there already, as its lock says."""
    return built.exists() and built.read_text() == wanted


def check_platform() -> None:
    """Stops with one line where the locks do not hold."""
    machine = (platform.system(), platform.machine())
    version = sys.version_info[:2]
    if machine not in SUPPORTED or not (3, 11) <= version <= (3, 13):
        sys.exit(
            f"infwidth: Python {version[0]}.{version[1]} on {' '.join(machine)} is not supported; "
            "it needs Python 3.11 to 3.13 on Linux (x86_64, aarch64) or macOS (arm64); name one "
            "with `make PYTHON=...`"
        )


def stamp(lock: Path) -> str:
    """One line that changes with a lock, with the project's own metadata and with the Python."""
    # Python 3.10 has no such module, and is to be told so by check_platform.
    import tomllib

    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    digest = hashlib.sha256(lock.read_bytes() + repr(metadata).encode()).hexdigest()
    return f"{lock.name} {digest} {sys.version.split()[0]} {ROOT}\n"


def build(venv: Path, lock: Path) -> None:
    """Installs exactly what the lock says, and the project itself."""
    made_from = f"{venv.name} from envs/{lock.name}"
    print(f"infwidth: building {made_from} (a minute or two)", file=sys.stderr)
    python = str(venv / "bin" / "python")
    uv = shutil.which("uv")
    if uv:
        run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv))
        # Exact: what the lock does not name goes.
        run(uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, str(lock))
        pip = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        run(sys.executable, "-m", "venv", "--clear", str(venv))
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        run(*pip, "--require-hashes", "--no-deps", "-r", str(lock))
    if lock.stem not in BARE:
        run(*pip, "--no-build-isolation", "--no-deps", "--editable", str(ROOT))


def run(*command: str) -> None:
    """Runs a command, or stops with one line and what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        sys.exit(f"infwidth: `{' '.join(command[:4])} ...` failed; mend what it says and run again")


if __name__ == "__main__":
    main()
