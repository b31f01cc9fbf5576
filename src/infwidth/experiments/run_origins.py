# SPDX-License-Identifier: Apache-2.0
"""Where runs come from, as their own records tell it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infwidth.config.errors import UserError
from infwidth.training.records import SETTINGS, LostRun, read_settings


def run_origins(runs: Path, keys: Iterable[str]) -> dict[str, Any]:
    """Code, software and platform of runs, which one collection has in common but for the code.

    Args:
      runs: the folder of runs.
      keys: of those that are asked about; a run of two experiments may be named twice.

    Returns:
      `software`, `platform`, `count`, and `code`, the digests, one for each rule that trains;
      nothing if there are no runs.

    Raises:
      LostRun: the settings of a run are damaged or gone.
      UserError: they were made with several versions of a package, or on several platforms.
    """
    records = []
    for key in sorted(set(keys)):
        record = read_settings(runs / key)
        if record is None:
            raise LostRun(runs / key, SETTINGS)
        records.append(record)
    if not records:
        return {}
    for record in records:
        for what in ("software", "platform"):
            if record[what] != records[0][what]:
                raise UserError(
                    f"{runs}: runs of one experiment have different {what} ({records[0][what]} and "
                    f"{record[what]}): delete the experiment's folders `parts` and `tuning`, and "
                    "run the workflow again, which trains what is of another kind anew"
                )
    return {
        "software": records[0]["software"],
        "platform": records[0]["platform"],
        "count": len(records),
        "code": sorted({record["code"] for record in records}),
    }
