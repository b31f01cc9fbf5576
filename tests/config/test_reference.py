"""Schema and reference page are written from the types, and the written ones are up to date."""

import json
from pathlib import Path

import jsonschema
import pytest

from infwidth.config.load import read_config
from infwidth.config.reference import json_schema, reference_page


def test_the_written_schema_is_up_to_date():
    assert Path("workflow/schemas/config.schema.json").read_text() == json_schema()


def test_the_written_reference_is_up_to_date():
    assert Path("docs/configuration.md").read_text() == reference_page()


@pytest.mark.parametrize("name", ["config", "quick", "smoke", "paper"])
def test_the_schema_takes_every_shipped_configuration(name):
    jsonschema.validate(read_config([f"config/{name}.yaml"]), json.loads(json_schema()))


def test_the_schema_refuses_an_unknown_key():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"lm_widht": {}}, json.loads(json_schema()))
