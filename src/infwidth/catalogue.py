# SPDX-License-Identifier: Apache-2.0
"""Every figure and table by name, and the experiment whose measurements it is made from."""

import re
from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from infwidth.experiments.registry import REGISTRY, STUDIES, module

if TYPE_CHECKING:
    from infwidth.experiments.schema import Table

FIGURES: dict[str, str] = {figure: name for name, row in REGISTRY.items() for figure in row.figures}

_TABLES = {table: name for name, row in REGISTRY.items() for table in row.tables}
_TABLES["table5_claims"] = "claims"
TABLES: dict[str, str] = dict(
    sorted(_TABLES.items(), key=lambda row: int(re.findall(r"\d+", row[0])[0]))
)

EXPERIMENTS = (*REGISTRY, "claims")
"""All that measure, and `claims`, which judges."""

LONG_TIER = tuple(name for name, row in REGISTRY.items() if row.core_minutes is None)
"""Those that the default leaves to config/long.yaml."""


def covered(names: Mapping[str, str], experiments: Collection[str]) -> list[str]:
    """The figures or tables of these experiments, and of the claims."""
    return [name for name, experiment in names.items() if experiment in (*experiments, "claims")]


def picture_module(name: str) -> str:
    """The module that draws a figure or makes a table."""
    experiment = (FIGURES | TABLES)[name]
    return f"infwidth.claims.{name}" if experiment == "claims" else module(experiment, name)


def figure_code(name: str) -> tuple[str, ...]:
    """The modules and functions that a figure's files hang on, with all that they use."""
    return (picture_module(name), reader(FIGURES[name]), "infwidth.drawing.make.draw_and_save")


def table_code(name: str) -> tuple[str, ...]:
    """The modules and functions that a table's files hang on, with all that they use."""
    return (picture_module(name), reader(TABLES[name]), "infwidth.drawing.make.build_and_write")


def reader(experiment: str) -> str:
    """The module whose `load` reads what an experiment measured."""
    if experiment == "claims":
        return "infwidth.claims.claims"
    if experiment in STUDIES:
        return "infwidth.experiments.measured"
    return module(experiment, "measured")


def effects_module(experiment: str) -> str:
    """The module whose `effects` says what was found: one of its own, or else the reader."""
    own = module(experiment, "effects")
    return own if find_spec(own) else reader(experiment)


def schemas(experiment: str) -> "dict[str, Table]":
    """The tables that an experiment measures, by name, `<name>.parquet`."""
    if experiment in STUDIES:
        return import_module("infwidth.experiments.schema").STUDY
    return import_module(reader(experiment)).TABLES
