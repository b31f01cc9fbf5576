# SPDX-License-Identifier: Apache-2.0
"""The plan of a configuration as JSON values: runs, work, memory, disk, device-hours, what is done.

Numbers are bytes, FLOPs, tokens and hours, unless a name says otherwise.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from infwidth.artifact.planning.chips import CHIPS
from infwidth.artifact.planning.counts import (
    Model,
    attention_of,
    checkpoint_bytes,
    loss_block,
    model_of,
    record_bytes,
    run_flops,
    sequences_at_once,
    support_bytes,
)
from infwidth.artifact.planning.runs import PlannedRun, Planner, Text, read_texts
from infwidth.config.settings import Settings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.infinite_lm.plan import training_of
from infwidth.layout import Layout
from infwidth.stored import Damaged, load_json
from infwidth.training.spec import RunSpec

_IDENTITY = ("features", "readout", "width", "learning_rate", "kappa", "seed", "splits")
"""What a run and a result of earlier settings or code have in common."""


class _Found(NamedTuple):
    """What there is of a run.

    A run is done; begun, to be taken up at a checkpoint; new; to run again, where a result is there
    that no longer counts; or waits for a rate.
    """

    state: Literal["done", "begun", "new", "again", "waits"]
    steps: int = 0  # of which a checkpoint tells
    reason: str = ""  # what differs between the run and the result that no longer counts


class _Counted(NamedTuple):
    run: PlannedRun
    found: _Found
    training_flops: int
    scoring_flops: int

    @property
    def flops(self) -> int:
        return self.training_flops + self.scoring_flops

    @property
    def flops_left(self) -> int:
        if self.found.state == "done":
            return 0
        steps = self.run.spec.training.steps
        return self.training_flops * (steps - self.found.steps) // steps + self.scoring_flops

    @property
    def tokens(self) -> int:
        training = self.run.spec.training
        return training.steps * training.batch_size * self.run.spec.model.context


def make_plan(
    settings: Settings, layout: Layout, platform: str, utilisation: float
) -> dict[str, Any]:
    """Counts what a configuration costs, as JSON values.

    Args:
      settings: the configuration.
      layout: where its results lie.
      platform: on which runs would train: numbers of another platform do not count as done.
      utilisation: share of a chip's peak that is reached, above 0 and at most 1.

    Raises:
      UserError: a manifest or what a tuning wrote is damaged.
    """
    texts = read_texts(settings, layout)
    text, have_tokens = texts[0], texts[0].digest is not None
    planner = Planner(settings, layout, texts, platform)
    kind = platform.partition("-")[0]
    runs = planner.runs()
    splits = {each.digest: each.tokens for each in texts if each.digest is not None}
    counted = [
        _Counted(run, found, *run_flops(run.spec, splits.get(run.spec.data)))
        for run, found in zip(runs, _look_up(runs, layout.runs, have_tokens), strict=True)
    ]
    flops_left = sum(each.flops_left for each in counted)
    again = Counter(each.found.reason for each in counted if each.found.state == "again")
    return {
        "name": settings.name,
        "platform": platform,
        "utilisation": utilisation,
        "tokens_are_there": have_tokens,
        "experiments": list(_experiments(counted, planner.most_extra)),
        "groups": list(_groups(counted, keyed=have_tokens)),
        "flops": sum(each.flops for each in counted),
        "flops_left": flops_left,
        "tokens_read": sum(each.tokens for each in counted),
        "cache": {
            "states": Counter(each.found.state for each in counted),
            "again_because_of": dict(again.most_common()),
        },
        "step": _step_as_configured(settings, text, kind),
        "models": list(_models(settings, text, kind)),
        "infinite": _infinite(settings),
        "disk": _disk([run.spec for run in runs], texts),
        "devices": list(_devices(settings, text, flops_left, utilisation)),
    }


def _look_up(runs: Sequence[PlannedRun], folder: Path, have_tokens: bool) -> list[_Found]:
    """Looks every run up among the results, where each has a folder named by its key."""
    if not folder.is_dir():
        return [_Found("waits" if run.waits else "new") for run in runs]
    keys = ["" if run.waits else run.spec.key for run in runs]
    former = _former_results(folder, set(keys))
    return [
        _Found("waits") if run.waits else _find(run.spec, folder / key, former, have_tokens)
        for run, key in zip(runs, keys, strict=True)
    ]


def _find(
    spec: RunSpec, folder: Path, former: dict[str, list[dict[str, Any]]], have_tokens: bool
) -> _Found:
    if _json(folder / "result.json") is not None:
        return _Found("done", spec.training.steps)
    if saved := [int(child.name) for child in (folder / "checkpoints").glob("[0-9]*")]:
        return _Found("begun", max(saved))
    record = spec.record()
    candidates = former.get(_identity(record), [])
    if not candidates:
        return _Found("new")
    changes = min((_changes(old, record, have_tokens) for old in candidates), key=len)
    return _Found("again", reason=", ".join(changes))


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


def _experiments(counted: Sequence[_Counted], most_extra: Counter[str]) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys(each.run.experiment for each in counted):
        some = [each for each in counted if each.run.experiment == name]
        yield {
            "experiment": name,
            "runs": len(some),
            "roles": Counter(each.run.role for each in some),
            "states": Counter(each.found.state for each in some),
            "most_extra_runs": most_extra[name],
            "tokens": sum(each.tokens for each in some),
            "flops": sum(each.flops for each in some),
            "flops_left": sum(each.flops_left for each in some),
        }


def _groups(counted: Iterable[_Counted], keyed: bool) -> Iterator[dict[str, Any]]:
    """Runs that differ in rates and seeds alone; their keys, where those are known."""
    groups: dict[tuple, list[_Counted]] = {}
    for each in counted:
        run = each.run
        key = (run.experiment, run.group, run.role, run.spec.width)
        groups.setdefault(key, []).append(each)
    for (experiment, group, role, width), some in groups.items():
        model = None if width is None else model_of(some[0].run.spec)
        yield {
            "experiment": experiment,
            "group": group,
            "role": role,
            "width": width,
            "runs": len(some),
            "states": Counter(each.found.state for each in some),
            "parameters": model and model.parameters.total,
            "parameters_trained": model and model.trained,
            "tokens_a_run": some[0].tokens,
            "flops_a_run": max(each.flops for each in some),
            "keys": [each.run.spec.key for each in some if keyed and not each.run.waits],
        }


def _step_as_configured(settings: Settings, text: Text, platform: str) -> dict[str, Any]:
    """How a step is computed, which its memory depends on."""
    model, training = settings.model, settings.training
    sequences = sequences_at_once(model, training, platform)
    tokens = sequences * model.context
    return {
        "devices": training.mesh.devices,
        "compute_dtype": model.numerics.compute_dtype,
        "attention": attention_of(model, platform),
        "rematerialize": model.numerics.rematerialize,
        "sequences_at_once": sequences,
        "tokens_at_once": tokens,
        "tokens_with_logits": loss_block(model, tokens, text.vocabulary_size, platform),
    }


def _largest(settings: Settings, text: Text, width: int, platform: str) -> tuple[str, Model]:
    """Of the variants of the paper's experiment that whose step takes most memory."""
    models = {
        name: Model(
            *(settings.model, settings.training, ALL_VARIANTS[name], width, text.vocabulary_size)
        )
        for name in settings.lm_width.variants
    }
    return max(models.items(), key=lambda item: item[1].step_memory(platform).total)


def _models(settings: Settings, text: Text, platform: str) -> Iterator[dict[str, Any]]:
    """At each width of the paper's experiment, the variant that takes most memory."""
    for width in sorted(settings.lm_width.widths):
        name, model = _largest(settings, text, width, platform)
        step = model.step_memory(platform)
        yield {
            "width": width,
            "variant": name,
            "parameters": model.parameters.total,
            "parameters_trained": model.trained,
            **step._asdict(),
            "total": step.total,
            "checkpoint": model.state_bytes,
        }


def _infinite(settings: Settings) -> dict[str, Any] | None:
    if not settings.infinite_lm.infinite_variants:
        return None
    training = training_of(settings.training, settings.infinite_lm)
    return {
        "inputs_seen": training.steps * training.batch_size * settings.model.context,
        "support": support_bytes(settings.model, training),
    }


def _disk(specs: Sequence[RunSpec], texts: tuple[Text, Text]) -> dict[str, Any]:
    vocabularies = {spec.vocabulary_size for spec in specs}
    return {
        "tokens": sum(text.stored for text in texts if text.vocabulary_size in vocabularies),
        "checkpoints": sum(checkpoint_bytes(spec) for spec in specs),
        "records": sum(record_bytes(spec.model, spec.training) for spec in specs),
    }


def _devices(
    settings: Settings, text: Text, flops: int, utilisation: float
) -> Iterator[dict[str, Any]]:
    """Hours on each chip, and how many sequences of the widest model it takes at once."""
    width = max(settings.lm_width.widths)
    for chip in CHIPS:
        _, widest = _largest(settings, text, width, chip.platform)
        memory = chip.memory and chip.memory * 10**9
        peaks = {"bfloat16": chip.bfloat16, "tf32": chip.tf32, "float32": chip.float32}
        yield {
            "chip": chip.name,
            "peak_tflops": peaks,
            "hours": {
                name: peak and flops / (peak * 1e12 * utilisation) / 3600
                for name, peak in peaks.items()
            },
            "memory": memory,
            "sequences_of_the_widest": memory and widest.sequences_that_fit(memory, chip.platform),
            "source": chip.source,
        }
