# SPDX-License-Identifier: Apache-2.0
"""`infwidth reproduce`: Snakemake, one at a time in a folder, whatever a kill left behind."""

import argparse
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

import psutil

from infwidth.cli.parser import settings_options
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.layout import Layout

_LOCK = Path("results/.reproduce.lock")
_PATIENCE = 3.5
_STYLESHEET = "workflow/report/phone.css"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "reproduce", help="run the whole workflow (what `make reproduce` does)"
    )
    settings_options(parser, "reproduce", _reproduce)
    parser.add_argument("targets", nargs="*", help="such as figures; everything if none is named")
    parser.add_argument("--cores", default="all", help="cores to use")
    parser.add_argument(
        "--report", action="store_true", help="then write the report, one HTML file"
    )


def _reproduce(args: argparse.Namespace, _: Settings, layout: Layout) -> int:
    if find_spec("snakemake") is None:
        raise ModuleNotFoundError("the workflow needs Snakemake", name="snakemake")
    if not re.fullmatch("all|0*[1-9][0-9]{0,5}", args.cores):
        raise UserError(f"--cores {args.cores}: write how many, 1 or more, or all")
    if args.report and not args.targets:
        args.targets = ["all", "pages"]
    _LOCK.parent.mkdir(exist_ok=True)
    # Held until this process ends: the kernel frees it, even after SIGKILL.
    with _LOCK.open("a+") as lock:
        _wait_for(lock)
        _clear_stale_lock()
        # No digest stands in a page of the report, so each is written anew.
        pages = ("--forcerun", "pages") if "pages" in args.targets else ()
        status = _snakemake(args, lock, "--cores", args.cores, *args.targets, *pages)
        if not status and not args.targets:
            made = f"{layout.results}/claims.md, {layout.tables}/ and {layout.figures}/"
            print(f"infwidth: done: see {made}", file=sys.stderr)
        if status or not args.report:
            return status
        report = ("--report", str(layout.report), "--report-stylesheet", _STYLESHEET)
        return _snakemake(args, lock, *args.targets, *report)


def _snakemake(args: argparse.Namespace, lock: TextIO, *words: str) -> int:
    command = [sys.executable, "-m", "snakemake", *words]
    if args.configfile:
        command += ["--configfile", *args.configfile]
    if args.config:
        command += ["--config", *args.config]
    # Snakemake holds the lock, too: should this process be killed, the folder stays taken.
    workflow = subprocess.Popen(command, pass_fds=[lock.fileno()])
    lock.seek(0)
    lock.truncate()
    lock.write(f"`make reproduce` (process {os.getpid()}, its Snakemake {workflow.pid})\n")
    lock.flush()
    try:
        status = workflow.wait()
    except KeyboardInterrupt:
        _end(workflow)
        raise
    if status >= 0:
        return status
    ended = signal.strsignal(-status) or f"signal {-status}"
    raise UserError(
        f"Snakemake was ended from outside ({ended}), as where memory runs out, and its jobs with "
        "it; run the same command again to go on"
    )


def _end(workflow: subprocess.Popen) -> None:
    """Ends Snakemake, then its jobs: left alone, it would first finish them, minutes perhaps."""
    with suppress(psutil.NoSuchProcess):
        snakemake = psutil.Process(workflow.pid)
        processes = [snakemake, *snakemake.children(recursive=True)]
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    end(process)
            psutil.wait_procs(processes, timeout=_PATIENCE)
    workflow.wait()


def _wait_for(lock: TextIO) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        print(f"infwidth: waiting for {holder}, which works in this folder", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _clear_stale_lock() -> None:
    """Removes the lock of a Snakemake that was killed, unless one is alive in this folder."""
    if any(Path(".snakemake/locks").glob("*")) and _orphans_are_gone():
        print("infwidth: clearing the lock of a workflow that was killed", file=sys.stderr)
        command = [sys.executable, "-m", "snakemake", "--unlock", "--quiet", "all"]
        if subprocess.run(command, check=False).returncode:
            raise UserError("the lock cannot be cleared; remove .snakemake/locks and run again")


def _orphans_are_gone() -> bool:
    # The jobs of a Snakemake that was killed end by themselves within a second or two.
    for _ in range(20):
        if not _snakemake_is_alive():
            return True
        time.sleep(0.5)
    return False


def _snakemake_is_alive() -> bool:
    here = str(Path.cwd())
    return any(
        process.info["cwd"] == here
        and any(Path(word).name == "snakemake" for word in (process.info["cmdline"] or [])[:3])
        for process in psutil.process_iter(["cmdline", "cwd"])
    )
