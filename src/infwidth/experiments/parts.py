# SPDX-License-Identifier: Apache-2.0
"""What experiments write: their tables, and parts from which one that was stopped goes on."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.code_digest import PROCESS, code_digest
from infwidth.provenance import code_commit, versions
from infwidth.stored import Damaged, load_table, set_aside, write_json, write_table

_SOFTWARE = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")
"""What numbers depend on."""

_log = logging.getLogger(__name__)


def write_measurements(
    out: Path, tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]
) -> None:
    """Writes `<table>.parquet` for each table, and `settings.json`, with commit and software.

    Settings are JSON values, among them the configuration's `name`.

    Raises:
      UserError: the disk is full, or the folder cannot be written to.
    """
    for name, table in tables.items():
        write_table(out / f"{name}.parquet", table)
    record = {"commit": code_commit(), "software": versions(_SOFTWARE)}
    write_json(out / "settings.json", dict(settings) | record)


class Parts:
    """Tables under one folder, each named by a hash of all that it depends on.

    Args:
      folder: where they lie.
      modules: those that compute them; they and all that they import are part of the hash.
      platform: "cpu", "gpu" or "tpu"; numbers differ by rounding between them.
      retrain: forget what is kept and compute anew.
    """

    def __init__(
        self, folder: Path, modules: Sequence[str], platform: str, retrain: bool = False
    ) -> None:
        self._folder = folder
        self._shared = {
            "code": code_digest((*modules, *PROCESS)),
            "software": versions(_SOFTWARE),
            "platform": platform,
        }
        self._retrain = retrain

    def table(
        self, name: str, settings: Mapping[str, Any], compute: Callable[[], pd.DataFrame]
    ) -> pd.DataFrame:
        """A table: from its file where that is there, else computed and written.

        Args:
          name: of the part, the beginning of the file's name.
          settings: all that its numbers depend on besides code, software and platform, as JSON.
          compute: makes it.

        Raises:
          UserError: the disk is full, or the folder cannot be written to.
        """
        path = self._folder / f"{name}-{self._key(settings)}.parquet"
        if not self._retrain:
            try:
                return load_table(path, of=path.name)
            except FileNotFoundError:
                pass
            except Damaged as damage:
                _log.warning("%s is damaged (%s), %s: made anew", path, damage, set_aside(path))
        table = compute()
        write_table(path, table, of=path.name)
        return table

    def _key(self, settings: Mapping[str, Any]) -> str:
        text = json.dumps({**self._shared, "settings": settings}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


Keeper = Callable[[Sequence[str]], Parts]
"""From the modules that numbers hang on to the parts that keep them."""
