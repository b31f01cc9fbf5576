# SPDX-License-Identifier: Apache-2.0
"""The plan of a configuration as JSON values: runs, work, memory, disk, device-hours, what is done.

Numbers are bytes, FLOPs, tokens and hours, unless a name says otherwise.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from infwidth.artifact.planning.cache import Found, look_up
from infwidth.artifact.planning.chips import CHIPS
from infwidth.artifact.planning.memory import (
    StepMemory,
    attention_of,
    loss_block,
    sequences_at_once,
    sequences_that_fit,
    step_memory,
)
from infwidth.artifact.planning.runs import PlannedRun, Planner
from infwidth.artifact.planning.sizes import (
    checkpoint_bytes,
    parameters,
    record_bytes,
    state_bytes,
    support_bytes,
    trained,
)
from infwidth.artifact.planning.texts import Text, read_texts
from infwidth.artifact.planning.work import run_flops
from infwidth.config.settings import Settings
from infwidth.config.variants import ALL_VARIANTS, Variant
from infwidth.experiments.infinite_lm.plan import training_of
from infwidth.layout import Layout
from infwidth.training.spec import RunSpec


class _Counted(NamedTuple):
    run: PlannedRun
    found: Found
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


def make_plan(
    settings: Settings, layout: Layout, platform: str, utilisation: float
) -> dict[str, Any]:
    """Counts what a configuration costs.

    Args:
      settings: the configuration.
      layout: where its results lie.
      platform: on which runs would train: numbers of another platform do not count as done.
      utilisation: share of a chip's peak that is reached, above 0 and at most 1.

    Returns:
      The plan, as JSON values.

    Raises:
      UserError: a manifest or what a tuning wrote is damaged.
    """
    texts = read_texts(settings, layout)
    planner = Planner(settings, layout, texts, platform)
    runs = planner.runs()
    found = look_up(runs, layout.runs, texts[0].digest is not None)
    splits = {text.digest: text.tokens for text in texts if text.digest is not None}
    counted = [
        _Counted(run, there, *run_flops(run.spec, splits.get(run.spec.data)))
        for run, there in zip(runs, found, strict=True)
    ]
    flops_left = sum(each.flops_left for each in counted)
    return {
        "name": settings.name,
        "platform": platform,
        "utilisation": utilisation,
        "tokens_are_there": texts[0].digest is not None,
        "experiments": list(_experiments(counted, planner)),
        "groups": list(_groups(counted, keyed=texts[0].digest is not None)),
        "flops": sum(each.flops for each in counted),
        "flops_left": flops_left,
        "tokens_read": sum(_tokens(each.run.spec) for each in counted),
        "cache": _cache(counted),
        "step": _step_as_configured(settings, texts[0], platform),
        "models": list(_models(settings, texts[0], platform)),
        "infinite": _infinite(settings, texts[0]),
        "disk": _disk(settings, counted, texts),
        "devices": list(_devices(settings, texts[0], flops_left, utilisation)),
    }


def _tokens(spec: RunSpec) -> int:
    return spec.training.steps * spec.training.batch_size * spec.model.context


def _experiments(counted: Iterable[_Counted], planner: Planner) -> Iterator[dict[str, Any]]:
    counted = list(counted)
    for name in dict.fromkeys(each.run.experiment for each in counted):
        some = [each for each in counted if each.run.experiment == name]
        yield {
            "experiment": name,
            "runs": len(some),
            "roles": Counter(each.run.role for each in some),
            "states": Counter(each.found.state for each in some),
            "most_extra_runs": sum(s.most_extra for s in planner.searches if s.experiment == name),
            "tokens": sum(_tokens(each.run.spec) for each in some),
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
        spec = some[0].run.spec
        variant = Variant(spec.features, spec.readout, "", "")
        counts = (
            None if width is None else parameters(spec.model, variant, width, spec.vocabulary_size)
        )
        yield {
            "experiment": experiment,
            "group": group,
            "role": role,
            "width": width,
            "runs": len(some),
            "states": Counter(each.found.state for each in some),
            "parameters": counts and counts.total,
            "parameters_trained": counts and trained(counts, variant),
            "tokens_a_run": _tokens(spec),
            "flops_a_run": max(each.flops for each in some),
            "keys": [each.run.spec.key for each in some if keyed and not each.run.waits],
        }


def _cache(counted: Iterable[_Counted]) -> dict[str, Any]:
    counted = list(counted)
    again = Counter(each.found.reason for each in counted if each.found.state == "again")
    return {
        "states": Counter(each.found.state for each in counted),
        "again_because_of": dict(again.most_common()),
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


def _models(settings: Settings, text: Text, platform: str) -> Iterator[dict[str, Any]]:
    """At each width of the paper's experiment, the variant that takes most memory."""
    study, training = settings.lm_width, settings.training
    for width in sorted(study.widths):
        by_need = [(_step(settings, text, name, width, platform), name) for name in study.variants]
        step, name = max(by_need, key=lambda pair: pair[0].total)
        variant = ALL_VARIANTS[name]
        counts = parameters(settings.model, variant, width, text.vocabulary_size)
        yield {
            "width": width,
            "variant": name,
            "parameters": counts.total,
            "parameters_trained": trained(counts, variant),
            **step._asdict(),
            "total": step.total,
            "checkpoint": state_bytes(
                settings.model, training, variant, width, text.vocabulary_size
            ),
        }


def _step(settings: Settings, text: Text, name: str, width: int, platform: str) -> StepMemory:
    model, training = settings.model, settings.training
    sequences = sequences_at_once(model, training, platform)
    return step_memory(
        *(model, training, ALL_VARIANTS[name], width, text.vocabulary_size, sequences, platform)
    )


def _infinite(settings: Settings, text: Text) -> dict[str, Any] | None:
    if not settings.infinite_lm.infinite_variants:
        return None
    training = training_of(settings.training, settings.infinite_lm)
    return {
        "inputs_seen": training.steps * training.batch_size * settings.model.context,
        "support": support_bytes(settings.model, training),
    }


def _disk(
    settings: Settings, counted: Iterable[_Counted], texts: tuple[Text, Text]
) -> dict[str, Any]:
    counted = list(counted)
    checkpoints = records = 0
    for each in counted:
        spec = each.run.spec
        variant = Variant(spec.features, spec.readout, "", "")
        state = state_bytes(spec.model, spec.training, variant, spec.width, spec.vocabulary_size)
        checkpoints += checkpoint_bytes(state, spec.training)
        records += record_bytes(spec.model, spec.training)
    vocabularies = {each.run.spec.vocabulary_size for each in counted}
    tokens = sum(text.stored for text in texts if text.vocabulary_size in vocabularies)
    return {"tokens": tokens, "checkpoints": checkpoints, "records": records}


def _devices(
    settings: Settings, text: Text, flops: int, utilisation: float
) -> Iterator[dict[str, Any]]:
    """Hours on each chip, and how many sequences of the widest model it takes at once."""
    study = settings.lm_width
    width = max(study.widths)
    for chip in CHIPS:
        by_need = {
            name: _step(settings, text, name, width, chip.platform).total for name in study.variants
        }
        peaks = {"bfloat16": chip.bfloat16, "tf32": chip.tf32, "float32": chip.float32}
        fit = chip.memory and sequences_that_fit(
            chip.memory * 10**9,
            settings.model,
            settings.training,
            ALL_VARIANTS[max(by_need, key=by_need.__getitem__)],
            width,
            text.vocabulary_size,
            chip.platform,
        )
        yield {
            "chip": chip.name,
            "peak_tflops": peaks,
            "hours": {
                name: peak and flops / (peak * 1e12 * utilisation) / 3600
                for name, peak in peaks.items()
            },
            "memory": chip.memory and chip.memory * 10**9,
            "sequences_of_the_widest": fit,
            "source": chip.source,
        }
