# SPDX-License-Identifier: Apache-2.0
"""The width experiment: its plan, and that tuning follows the rule."""

import math
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from infwidth.config.errors import UserError
from infwidth.config.section import TuningSettings
from infwidth.config.settings import Settings
from infwidth.config.variants import VARIANTS
from infwidth.experiments.lm_width.plan import parts
from infwidth.experiments.runs import tune
from infwidth.experiments.study import first_places, jobs_of, widths_of
from infwidth.stats.selection import Cell

TUNING = TuningSettings(seeds=[0, 1], learning_rates=[1.0, 3.0, 10.0], kappas=[0.3, 1.0])


def an_arm(variant="ntk"):
    """A part with what tuning reads of it."""
    return SimpleNamespace(
        name="an-arm",
        variant=variant,
        width=256,
        tuning=TUNING,
        rates="study.tuning.learning_rates",
        trunk_rate="study.trunk_learning_rate",
    )


class FakeBench:
    """Answers with a loss that is a function of the place; remembers what it was asked."""

    def __init__(self, loss):
        self.loss = loss
        self.places = []
        self.training = SimpleNamespace(trunk_learning_rate=0.01)

    def run(self, place):
        self.places.append(place)
        loss = self.loss(place)
        rate = self.training.trunk_learning_rate * place.trunk_factor
        entry = {"role": place.role, "trunk_learning_rate": rate}
        if loss is None:
            return entry, {"status": "diverged"}
        return entry, {"status": "done", "validation_loss": loss}


def bowl(best):
    """A loss whose logarithmic minimum lies at the rate `best`."""
    return lambda place: 1 + 0.1 * abs(math.log(place.cell.learning_rate / best))


def test_every_variant_has_every_width_once():
    settings = Settings()
    own = settings.lm_width
    places = [(part.variant, part.width) for part in parts(settings)]
    assert len(set(places)) == len(places)
    assert set(places) == {(n, h) for n in own.variants for h in widths_of(n, own.widths)}
    assert ("constant", 0) in places


def test_one_more_width_leaves_the_other_jobs_as_they_are():
    before = jobs_of("lm_width", Settings())
    after = jobs_of("lm_width", Settings(lm_width={"widths": [64, 256, 1024, 4096]}))
    assert before == {name: after[name] for name in before}


def test_a_search_is_shorter_and_its_choice_is_checked_at_full_length():
    part, *_, control = parts(Settings())
    assert (part.search.steps, part.training.steps, part.is_checked) == (1500, 4500, True)
    assert part.search.warmup_steps / 1500 == part.training.warmup_steps / 4500
    assert (control.variant, control.is_checked) == ("constant", False)
    short = Settings(training={"steps": 1500, "warmup_steps": 100})
    assert not any(part.is_checked for part in parts(short))
    with pytest.raises(UserError, match="lm_width: in its condition 'lm_width' steps"):
        parts(Settings(lm_width={"search_steps": 1490}))


def test_a_search_does_not_hang_on_what_is_reported():
    one, other = (
        jobs_of("lm_width", Settings(lm_width={"seeds": seeds}))["ntk-64"] for seeds in ([90], [91])
    )
    assert one != other
    assert one.for_tuning() == other.for_tuning()


def test_every_variant_starts_on_the_same_rates_and_seeds():
    for name, variant in VARIANTS.items():
        places = first_places(name, 256, TUNING)
        assert {place.seed for place in places} == {0, 1}
        if variant.readout != "none":
            assert {place.cell.learning_rate for place in places} == {1.0, 3.0, 10.0}
        kappas = {place.cell.kappa for place in places}
        assert kappas == ({0.3, 1.0} if variant.features == "adam" else {None})


def test_an_interior_optimum_needs_no_more_runs():
    bench = FakeBench(bowl(3.0))
    chosen, _ = tune(bench, an_arm())
    assert (chosen["learning_rate"], chosen["interior"]) == (3.0, True)
    assert len(bench.places) == 3 * 2


def test_the_grid_grows_until_the_optimum_is_interior():
    chosen, _ = tune(FakeBench(bowl(100.0)), an_arm())
    assert (chosen["learning_rate"], chosen["interior"]) == (100.0, True)
    assert chosen["extensions"] == 3


def test_the_budget_for_growing_is_kept_and_the_edge_is_said():
    chosen, _ = tune(FakeBench(bowl(1e9)), an_arm())
    assert (chosen["extensions"], chosen["interior"]) == (TUNING.max_extensions, False)
    assert "edge" in chosen["note"]


def test_a_rate_that_diverges_loses():
    bench = FakeBench(lambda p: None if p.cell.learning_rate > 2 else 2.0 / p.cell.learning_rate)
    chosen, _ = tune(bench, an_arm("adam_star"))
    assert chosen["learning_rate"] == 1.0


@pytest.mark.parametrize(
    ("variant", "trunk_rate", "line"),
    [
        (
            *("adam_star", 0.01),
            "every readout rate diverged at width 256; lower study.tuning.learning_rates or "
            "study.trunk_learning_rate",
        ),
        (
            *("adam_star", 0.0),
            "every readout rate diverged at width 256; lower study.tuning.learning_rates",
        ),
        ("constant", 0.01, "every trunk rate diverged; lower study.trunk_learning_rate"),
    ],
)
def test_if_every_rate_diverges_one_line_names_the_arm_and_its_settings(variant, trunk_rate, line):
    bench = FakeBench(lambda place: None)
    bench.training.trunk_learning_rate = trunk_rate
    with pytest.raises(UserError) as caught:
        tune(bench, an_arm(variant))
    assert str(caught.value) == f"an-arm: {line}"


def test_the_trunk_is_checked_and_not_searched():
    bench = FakeBench(lambda place: 1.0 if place.trunk_factor == 2.0 else 2.0)
    tune(bench, an_arm("constant"))
    assert {place.role for place in bench.places} == {"trunk"}
    assert len(bench.places) == 3 * 2
    assert {place.trunk_factor for place in bench.places} == {0.5, 1.0, 2.0}


def test_reported_runs_use_their_own_rate_and_the_first_seeds_that_of_the_reference_width():
    settings = Settings(lm_width={"seeds": [90, 91, 92], "one_rate_seeds": 2})
    part = next(part for part in parts(settings) if part.name == "ntk-64")
    assert part.reference == "ntk-256"
    places = part.report_places(Cell(3.0), Cell(10.0))
    assert [(p.role, p.width, p.cell.learning_rate, p.seed) for p in places] == [
        ("report", 64, 3.0, 90),
        ("report", 64, 3.0, 91),
        ("report", 64, 3.0, 92),
        ("one_rate", 64, 10.0, 90),
        ("one_rate", 64, 10.0, 91),
    ]
    with pytest.raises(ValidationError, match="reference_width 128 is not one of widths"):
        Settings(lm_width={"reference_width": 128})
