# SPDX-License-Identifier: Apache-2.0
"""What takes long to make and is made once, however many workers pytest-xdist has."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock


def once(tmp_path_factory: Any, name: str, make: Callable[[Path], object]) -> Path:
    """Gives a folder that the worker who asks first has filled, for all to read.

    Args:
        tmp_path_factory: pytest's.
        name: of the folder.
        make: fills a folder, which it also creates.
    """
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if session else base) / f"{name}-{session or 'alone'}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}-unfinished")
            # Of a worker for whom it failed.
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(folder)
    return folder
