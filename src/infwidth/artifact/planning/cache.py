# SPDX-License-Identifier: Apache-2.0
"""What of a plan is done already, and why what looks done would run again."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from infwidth.artifact.planning.runs import PlannedRun
from infwidth.stored import Damaged, load_json

State = Literal["done", "begun", "new", "again", "waits"]
_IDENTITY = ("features", "readout", "width", "learning_rate", "kappa", "seed", "splits")


class Found(NamedTuple):
    """What there is of a run.

    Attributes:
      state: "done"; "begun", to be taken up at a checkpoint; "new"; "again", where a result is
        there that no longer counts; "waits" for a rate.
      steps: of which a checkpoint tells.
      reason: what differs between the run and the result that no longer counts.
    """

    state: State
    steps: int = 0
    reason: str = ""


def look_up(runs: Iterable[PlannedRun], folder: Path, have_tokens: bool) -> list[Found]:
    """Looks every run up among the results.

    Args:
      runs: of a plan.
      folder: where each run has its folder, named by its key.
      have_tokens: whether the text is tokenized; without it no key is known.

    Returns:
      What there is of each, in order.
    """
    runs = list(runs)
    if not folder.is_dir():
        return [Found("waits" if run.waits else "new") for run in runs]
    keys = ["" if run.waits else run.spec.key for run in runs]
    former = _former_results(folder, set(keys))
    return [
        Found("waits") if run.waits else _find(run, folder / key, former, have_tokens)
        for run, key in zip(runs, keys, strict=True)
    ]


def _find(
    run: PlannedRun, folder: Path, former: dict[str, list[dict[str, Any]]], have_tokens: bool
) -> Found:
    if _json(folder / "result.json") is not None:
        return Found("done", run.spec.training.steps)
    if folder.is_dir():
        saved = [int(child.name) for child in (folder / "checkpoints").glob("[0-9]*")]
        if saved:
            return Found("begun", max(saved))
    record = run.spec.record()
    candidates = former.get(_identity(record), [])
    if not candidates:
        return Found("new")
    changes = min((_changes(old, record, have_tokens) for old in candidates), key=len)
    return Found("again", reason=", ".join(changes))


def _former_results(folder: Path, planned: set[str]) -> dict[str, list[dict[str, Any]]]:
    """The settings of complete runs that are not of the plan, by what they have in common."""
    former: dict[str, list[dict[str, Any]]] = {}
    for settings in sorted(folder.glob("*/settings.json")):
        if settings.parent.name in planned or not (settings.parent / "result.json").exists():
            continue
        record = _json(settings)
        if record is not None and all(name in record for name in _IDENTITY):
            former.setdefault(_identity(record), []).append(record)
    return former


def _identity(record: dict[str, Any]) -> str:
    control = record["readout"] == "none"
    # The rate of the control is that of its trunk.
    rate = record["training"]["trunk_learning_rate"] if control else None
    return json.dumps([*(record[name] for name in _IDENTITY), rate])


def _changes(old: dict[str, Any], new: dict[str, Any], have_tokens: bool) -> list[str]:
    """What differs, in words: a setting's name, `code`, or a library with its two versions."""
    changes = []
    for name in sorted({*old, *new}):
        before, now = old.get(name), new.get(name)
        if before == now:
            continue
        if name in ("model", "training", "software"):
            before, now = before or {}, now or {}
            parts = [p for p in sorted({*before, *now}) if before.get(p) != now.get(p)]
            changes += [
                f"{part} {before.get(part)} → {now.get(part)}"
                if name == "software"
                else f"{name}.{part}"
                for part in parts
            ]
        elif name == "platform":
            changes.append(f"platform {before} → {now}")
        elif name == "data":
            changes.append("tokens" if have_tokens else "tokens, which are not there yet")
        elif name not in _IDENTITY and name != "vocabulary_size":
            changes.append(name)
    return changes


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = load_json(path)
    except (OSError, Damaged):
        return None
    return content
