# SPDX-License-Identifier: Apache-2.0
"""Every training run of a language model that a configuration asks for, each listed once.

Which rate a variant is reported at follows from its tuning. Until that is done the reported runs
stand in the list with multiples of a rate that is not known, as runs that wait.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from infwidth.artifact.planning.texts import Text
from infwidth.config.section import TuningSettings
from infwidth.config.settings import ModelSettings, Settings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.registry import IN_PARTS, STUDIES
from infwidth.experiments.study import Place, first_places, has_mlps, parts_of, run_spec
from infwidth.layout import Layout
from infwidth.stats.selection import Cell
from infwidth.stored import read_json
from infwidth.training.spec import RunSpec

_UNKNOWN = "tokens that are not there yet"


class PlannedRun(NamedTuple):
    """One run.

    Attributes:
      experiment: the first that asks for it.
      group: its part; of a study the variant, after its condition.
      role: "trunk", "tuning", "check", "one_rate" or "report".
      spec: all that its numbers depend on; of a run that waits, rates are multiples of the chosen.
      waits_for: the tuning that has still to choose its rate; empty where that is done.
    """

    experiment: str
    group: str
    role: str
    spec: RunSpec
    waits_for: str

    @property
    def waits(self) -> bool:
        """Whether its rate is still to be chosen."""
        return bool(self.waits_for)


class Search(NamedTuple):
    """A variant's tuning, and the runs that may still be added where its grid ends too soon."""

    experiment: str
    group: str
    most_extra: int


class _Tuning(NamedTuple):
    places: list[Place]
    selection: dict[str, Any]
    waits_for: str


class Planner:
    """Lists the runs of a configuration.

    Args:
      settings: the configuration.
      layout: where its results lie.
      texts: in the configured vocabulary, and in the other one.
      platform: on which runs would train.
    """

    def __init__(self, settings: Settings, layout: Layout, texts: tuple[Text, Text], platform: str):
        self._settings = settings
        self._layout = layout
        self._texts = texts
        self._platform = platform
        self.searches: list[Search] = []
        """Filled by `runs`: those that are not done."""

    def runs(self) -> list[PlannedRun]:
        """All runs, those that several experiments ask for under the first of them.

        Raises:
          UserError: what a tuning wrote is damaged.
        """
        self.searches = []
        covered = self._settings.experiments
        parts = [self._in_parts(name) for name in IN_PARTS if name in covered]
        found: dict[tuple[RunSpec, str], PlannedRun] = {}
        for runs in parts:
            for run in runs:
                if run.experiment in covered:
                    found.setdefault((run.spec, run.waits_for), run)
        self.searches = [search for search in self.searches if search.experiment in covered]
        return list(found.values())

    def _in_parts(self, name: str) -> Iterator[PlannedRun]:
        """The runs of an experiment that trains in parts."""
        written = [(self._layout.part(name, "*"), f"infwidth measure {name}")]
        if name == "lm_width":
            # What is trained stands for its tuning, too.
            written = [(self._layout.tuning("*"), "infwidth tune")]
            written += [(self._layout.part(name, "*"), "infwidth train")]
        done = {
            (part["condition"], part["variant"], part["width"]): part
            for place, command in written
            for path in sorted(place.parent.glob("*.json"))
            for part in read_json(path, command, ("parts",))["parts"]
        }
        tunings: dict[str, _Tuning] = {}
        parts = parts_of(name, self._settings)
        for part in parts:
            made = done.get(part.place)
            group = f"{part.condition}-{part.variant}" if name in STUDIES else part.name
            tunings[part.name] = self._tuning(
                *(name, group, part.variant, part.width, part.tuning, made)
            )
        for part in parts:
            made, tuning = done.get(part.place), tunings[part.name]
            group = f"{part.condition}-{part.variant}" if name in STUDIES else part.name
            text = self._texts[part.vocabulary != self._settings.data.vocabulary]
            yield from self._planned(
                *(name, group, tuning.places, tuning.waits_for, part.model, part.search, text)
            )
            chosen = _chosen(tuning)
            cells = []
            if part.is_checked:
                # Of a search that is not done the rates are multiples of its choice.
                cells = [chosen, *(chosen._replace(learning_rate=r) for r in (1 / 3, 3.0))]
                if made is not None and not tuning.waits_for:
                    checks = (e for e in made["entries"] if e["role"] == "check")
                    cells = [Cell(entry["learning_rate"], entry["kappa"]) for entry in checks]
            place = (part.variant, part.width)
            places = [Place("check", *place, cell, part.tuning.seeds[0]) for cell in cells]
            places += part.report_places(chosen)
            yield from self._planned(
                *(name, group, places, tuning.waits_for, part.model, part.training, text)
            )
            if part.reference:
                other = tunings[part.reference]
                places = part.report_places(chosen, _chosen(other))
                places = [place for place in places if place.role == "one_rate"]
                yield from self._planned(
                    *(name, group, places, other.waits_for, part.model, part.training, text)
                )

    def _tuning(
        self,
        experiment: str,
        group: str,
        variant: str,
        width: int,
        settings: TuningSettings,
        tuned: dict[str, Any] | None,
    ) -> _Tuning:
        """The runs of a tuning, and its choice: 1, as the unit of rates, where it is not made."""
        first = first_places(variant, width, settings)
        if tuned is not None and _answers(tuned["entries"], first):
            return _Tuning(_tried(tuned["entries"], first), tuned["selection"], "")
        searched = has_mlps(ALL_VARIANTS[variant])
        kappa = 1.0 if first[0].cell.kappa is not None else None
        if searched:
            most = most_extra_runs(settings, len({place.cell for place in first}))
            if most:
                self.searches.append(Search(experiment, group, most))
        # Two tunings of one grid, at one width, choose the same but for what they may add; so, as
        # a rule, does one whose rates race.
        grid = settings.model_dump_json(exclude={"max_extensions", "trunk_factors", "race_margin"})
        waits_for = f"{variant} at {width}, {grid}" if searched else ""
        return _Tuning(first, {"learning_rate": 1.0, "kappa": kappa}, waits_for)

    def _planned(
        self,
        experiment: str,
        group: str,
        places: Iterable[Place],
        waits_for: str,
        model: ModelSettings | None = None,
        training: TrainingSettings | None = None,
        text: Text | None = None,
    ) -> Iterator[PlannedRun]:
        model, training = model or self._settings.model, training or self._settings.training
        text = text or self._texts[0]
        for place in places:
            digest = text.digest or _UNKNOWN
            spec = run_spec(place, model, training, digest, text.vocabulary_size, self._platform)
            role = "report" if place.role == "extra" else place.role
            waits = role in ("report", "one_rate", "check")
            yield PlannedRun(experiment, group, role, spec, waits_for if waits else "")


def most_extra_runs(tuning: TuningSettings, cells: int) -> int:
    """The most runs that follow a search's first ones.

    All seeds of the cells by which the grid may grow, and the seeds that a race keeps back.
    """
    kept_back = 0 if tuning.race_margin is None else len(tuning.seeds) - 1
    with_kappas = cells > len(tuning.learning_rates)
    return _most_extra_cells(tuning, with_kappas) * len(tuning.seeds) + cells * kept_back


def _most_extra_cells(tuning: TuningSettings, with_kappas: bool) -> int:
    """The most cells that a search adds to its grid: all of the largest grid that it may reach."""
    rates, kappas = len(tuning.learning_rates), len(tuning.kappas) if with_kappas else 1
    extensions = range(tuning.max_extensions + 1)
    reached = (
        (rates + more) * (kappas + (tuning.max_extensions - more if with_kappas else 0))
        for more in extensions
    )
    return max(reached) - rates * kappas


def _chosen(tuning: _Tuning) -> Cell:
    return Cell(tuning.selection["learning_rate"], tuning.selection["kappa"])


def _coordinates(entry: dict[str, Any]) -> tuple:
    return (entry["width"], entry["learning_rate"], entry["kappa"], entry["seed"])


def _answers(entries: Sequence[dict[str, Any]], first: Sequence[Place]) -> bool:
    """Whether a tuning tried all that the settings ask for now."""
    if first[0].role == "trunk":
        return True
    tried = {_coordinates(entry) for entry in entries if entry["role"] == "tuning"}
    return all((p.width, *p.cell, p.seed) in tried for p in first)


def _tried(entries: Sequence[dict[str, Any]], first: Sequence[Place]) -> list[Place]:
    """The places of a tuning, those beyond its grid last."""
    if first[0].role == "trunk":
        return list(first)
    known = {(place.width, *place.cell, place.seed) for place in first}
    return [
        *first,
        *(
            Place("tuning", first[0].variant, width, Cell(rate, kappa), seed)
            for entry in entries
            if entry["role"] == "tuning"
            for width, rate, kappa, seed in [_coordinates(entry)]
            if (width, rate, kappa, seed) not in known
        ),
    ]
