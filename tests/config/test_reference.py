# SPDX-License-Identifier: Apache-2.0
"""Schema and reference page are written from the types, and the written ones are up to date."""

import json
from pathlib import Path

import jsonschema
import pytest

from infwidth.catalogue import FIGURES, LONG_TIER, TABLES
from infwidth.claims.schema import labels, read_claims
from infwidth.cli.config import CORE_MINUTES, QUESTIONS, figures_page, pages
from infwidth.config.load import read_config
from infwidth.config.settings import json_schema, reference_page
from infwidth.experiments.registry import REGISTRY


def test_the_written_schema_and_reference_are_up_to_date():
    assert Path("workflow/schemas/config.schema.json").read_text() == json_schema()
    assert Path("docs/configuration.md").read_text() == reference_page()


def test_the_written_pages_of_figures_and_claims_are_up_to_date():
    claims = read_claims()
    for path, text in pages(Path("docs"), claims).items():
        assert path.read_text() == text
    artifact = Path("docs/artifact_evaluation.md").read_text()
    assert all(f"\n| {label} | " in artifact for label in labels(claims).values())


def test_every_figure_and_table_has_a_section_with_its_question_and_time():
    page = figures_page(read_claims())
    assert all(f"\n### {name}\n" in page for name in (*FIGURES, *TABLES))
    experiments = {*FIGURES.values(), *TABLES.values()}
    assert CORE_MINUTES.keys() == experiments - {*LONG_TIER}
    # Some figures and tables of an experiment have a question of their own.
    assert experiments <= QUESTIONS.keys()
    assert QUESTIONS.keys() <= {*REGISTRY, "claims", *FIGURES, *TABLES}


@pytest.mark.parametrize("name", ["config", "quick", "smoke", "long", "paper"])
def test_the_schema_takes_every_shipped_configuration(name):
    jsonschema.validate(read_config([f"config/{name}.yaml"]), json.loads(json_schema()))


def test_the_schema_refuses_an_unknown_key():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"lm_widht": {}}, json.loads(json_schema()))
