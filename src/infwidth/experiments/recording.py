# SPDX-License-Identifier: Apache-2.0
"""Writes what an experiment measured, with the settings, commit and software that it came from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.checkout import code_commit
from infwidth.provenance import versions
from infwidth.stored import write_json, write_table

_SOFTWARE = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")


def write_measurements(
    out: Path, tables: Mapping[str, pd.DataFrame], settings: Mapping[str, Any]
) -> None:
    """Writes `<table>.parquet` for each table, and `settings.json`.

    Args:
      out: folder to write, made if need be.
      tables: tidy tables by name.
      settings: what the experiment ran with, as JSON values; among them the configuration's `name`.

    Raises:
      UserError: the disk is full, or the folder cannot be written to.
    """
    for name, table in tables.items():
        write_table(out / f"{name}.parquet", table)
    record = {"commit": code_commit(), "software": software()}
    write_json(out / "settings.json", dict(settings) | record)


def software() -> dict[str, str]:
    """The versions of the packages that the numbers depend on."""
    return versions(_SOFTWARE)
