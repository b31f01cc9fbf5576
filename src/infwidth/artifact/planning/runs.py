# SPDX-License-Identifier: Apache-2.0
"""Every training run of a language model that a configuration asks for, each listed once.

Which rate a variant is reported at follows from its tuning. Until that is done the reported runs
stand in the list with multiples of a rate that is not known, as runs that wait.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from infwidth.config.section import TuningSettings
from infwidth.config.settings import DataSettings, Settings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.data.files import MANIFEST
from infwidth.experiments.registry import IN_PARTS, STUDIES
from infwidth.experiments.study import Part, Place, first_places, has_mlps, parts_of, run_spec
from infwidth.layout import Layout
from infwidth.stats.selection import Cell
from infwidth.stored import read_json
from infwidth.training.spec import RunSpec

BYTE_VOCABULARY = 258
"""Size of the vocabulary of bytes: they, BOS and EOS."""
_UNKNOWN = "tokens that are not there yet"


class Text(NamedTuple):
    """The text in one vocabulary; what is not tokenized yet has no digest and no counts."""

    digest: str | None
    vocabulary_size: int
    tokens: dict[str, int] | None  # of each split
    stored: int  # bytes on disk; of what is not there, those of one epoch of the longest run


def read_texts(settings: Settings, layout: Layout) -> tuple[Text, Text]:
    """The text in the configured vocabulary, and in the other one.

    Raises:
      UserError: a manifest is damaged.
    """
    longest = max(
        run.steps * run.batch_size * settings.model.context
        for run in (settings.training, settings.infinite_lm)
    )
    own = settings.data
    other = {"bytes": "sentencepiece", "sentencepiece": "bytes"}[own.vocabulary]
    return (
        _read_text(layout.tokens, own, longest),
        _read_text(layout.other_tokens, own.model_copy(update={"vocabulary": other}), longest),
    )


def _read_text(folder: Path, data: DataSettings, longest: int) -> Text:
    size = BYTE_VOCABULARY if data.vocabulary == "bytes" else data.vocabulary_size
    if not (folder / MANIFEST).exists():
        return Text(None, size, None, longest * (2 if size <= 2**16 else 4))
    needed = ("files", "digest", "vocabulary")
    manifest = read_json(folder / MANIFEST, "infwidth data tokenize", needed)
    stored = sum(file["bytes"] for file in manifest["files"].values())
    return Text(manifest["digest"], manifest["vocabulary"]["size"], manifest.get("tokens"), stored)


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


class _Tuning(NamedTuple):
    """The runs of a tuning, and its choice: 1, as the unit of rates, where it is not made."""

    places: list[Place]
    chosen: Cell
    waits_for: str


class Planner:
    """Lists the runs of a configuration that would train on a platform.

    The texts are those in the configured vocabulary, and in the other one.
    """

    def __init__(self, settings: Settings, layout: Layout, texts: tuple[Text, Text], platform: str):
        self._settings = settings
        self._layout = layout
        self._texts = texts
        self._platform = platform
        self.most_extra: Counter[str] = Counter()
        """Filled by `runs`: the most that searches may add to their grids, by experiment."""

    def runs(self) -> list[PlannedRun]:
        """All runs, those that several experiments ask for under the first of them.

        Raises:
          UserError: what a tuning wrote is damaged.
        """
        self.most_extra.clear()
        found: dict[tuple[RunSpec, str], PlannedRun] = {}
        for name in IN_PARTS:
            if name in self._settings.experiments:
                for run in self._in_parts(name):
                    found.setdefault((run.spec, run.waits_for), run)
        return list(found.values())

    def _in_parts(self, name: str) -> Iterator[PlannedRun]:
        """The runs of an experiment that trains in parts."""
        made = self._made(name)
        parts = parts_of(name, self._settings)
        tunings = {part.name: self._tuning(name, part, made.get(part.place)) for part in parts}
        for part in parts:
            tuning = tunings[part.name]
            chosen = tuning.chosen
            yield from self._planned(name, part, tuning.places, tuning.waits_for, part.search)
            cells = []
            if part.is_checked:
                # Of a search that is not done the rates are multiples of its choice.
                cells = [chosen, *(chosen._replace(learning_rate=r) for r in (1 / 3, 3.0))]
                if part.place in made and not tuning.waits_for:
                    checks = (e for e in made[part.place]["entries"] if e["role"] == "check")
                    cells = [Cell(entry["learning_rate"], entry["kappa"]) for entry in checks]
            at = (part.variant, part.width)
            places = [Place("check", *at, cell, part.tuning.seeds[0]) for cell in cells]
            places += part.report_places(chosen)
            yield from self._planned(name, part, places, tuning.waits_for, part.training)
            if part.reference:
                other = tunings[part.reference]
                places = part.report_places(chosen, other.chosen)
                places = [place for place in places if place.role == "one_rate"]
                yield from self._planned(name, part, places, other.waits_for, part.training)

    def _made(self, name: str) -> dict[tuple[str, str, int], dict[str, Any]]:
        """What an experiment's jobs wrote, by the place of its parts."""
        written = [(self._layout.part(name, "*"), f"infwidth measure {name}")]
        if name == "lm_width":
            # What is trained stands for its tuning, too.
            written = [(self._layout.tuning("*"), "infwidth tune")]
            written += [(self._layout.part(name, "*"), "infwidth train")]
        return {
            (part["condition"], part["variant"], part["width"]): part
            for place, command in written
            for path in sorted(place.parent.glob("*.json"))
            for part in read_json(path, command, ("parts",))["parts"]
        }

    def _tuning(self, experiment: str, part: Part, made: dict[str, Any] | None) -> _Tuning:
        first = first_places(part.variant, part.width, part.tuning)
        if made is not None and _answers(made["entries"], first):
            selection = made["selection"]
            chosen = Cell(selection["learning_rate"], selection["kappa"])
            return _Tuning(_tried(made["entries"], first), chosen, "")
        chosen = Cell(1.0, 1.0 if first[0].cell.kappa is not None else None)
        if not has_mlps(ALL_VARIANTS[part.variant]):
            return _Tuning(first, chosen, "")
        cells = len({place.cell for place in first})
        self.most_extra[experiment] += _most_extra_runs(part.tuning, cells)
        # Two tunings of one grid, at one width, choose the same but for what they may add; so, as
        # a rule, does one whose rates race.
        apart = {"max_extensions", "trunk_factors", "race_margin"}
        grid = part.tuning.model_dump_json(exclude=apart)
        return _Tuning(first, chosen, f"{part.variant} at {part.width}, {grid}")

    def _planned(
        self,
        experiment: str,
        part: Part,
        places: Iterable[Place],
        waits_for: str,
        training: TrainingSettings,
    ) -> Iterator[PlannedRun]:
        group = f"{part.condition}-{part.variant}" if experiment in STUDIES else part.name
        text = self._texts[part.vocabulary != self._settings.data.vocabulary]
        text_and_platform = (text.digest or _UNKNOWN, text.vocabulary_size, self._platform)
        for place in places:
            spec = run_spec(place, part.model, training, *text_and_platform)
            role = "report" if place.role == "extra" else place.role
            waits = role in ("report", "one_rate", "check")
            yield PlannedRun(experiment, group, role, spec, waits_for if waits else "")


def _most_extra_runs(tuning: TuningSettings, cells: int) -> int:
    """The most runs that follow a search's first ones.

    All seeds of the cells by which the grid may grow, to the largest one that it may reach, and the
    seeds that a race keeps back.
    """
    rates, kappas, seeds = len(tuning.learning_rates), 1, len(tuning.seeds)
    with_kappas = cells > rates
    if with_kappas:
        kappas = len(tuning.kappas)
    most = tuning.max_extensions
    reached = max(
        (rates + more) * (kappas + (most - more if with_kappas else 0)) for more in range(most + 1)
    )
    kept_back = 0 if tuning.race_margin is None else seeds - 1
    return (reached - rates * kappas) * seeds + cells * kept_back


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
    tried = [_coordinates(entry) for entry in entries if entry["role"] == "tuning"]
    beyond = [
        Place("tuning", first[0].variant, width, Cell(rate, kappa), seed)
        for width, rate, kappa, seed in tried
        if (width, rate, kappa, seed) not in known
    ]
    return [*first, *beyond]
