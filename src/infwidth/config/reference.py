# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema and the reference page, written from the types."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from infwidth.config.settings import Settings

_HEAD = """# Configuration

Every setting, its type, default and meaning. This page is written by `infwidth config reference`
from `src/infwidth/config/`; a test keeps it in step.

`config/config.yaml` is the default; the other files in `config/` are overlays on it. A map is
merged, anything else (a list, too) is replaced. On the command line:

    snakemake --cores all --config 'lm_width={seeds: [10, 11]}'
"""


def json_schema() -> str:
    """The JSON Schema of a configuration file, for editors and Snakemake's `validate`."""
    schema = Settings.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def reference_page() -> str:
    """The reference page of the documentation, in Markdown."""
    parts = [_HEAD]
    for title, section in _sections("", Settings()):
        parts.append(f"\n## {title or 'Top level'}\n\n{section.__doc__}\n")
        parts.append("\n| key | type | default | meaning |\n|---|---|---|---|\n")
        schema = type(section).model_json_schema()["properties"]
        defaults = section.model_dump(mode="json")
        for name, field in type(section).model_fields.items():
            if not isinstance(getattr(section, name), BaseModel):
                default = json.dumps(defaults[name], ensure_ascii=False)
                row = (f"`{name}`", _type(schema[name]), f"`{default}`", field.description)
                parts.append("| " + " | ".join(str(cell) for cell in row) + " |\n")
    return "".join(parts)


def _sections(path: str, section: BaseModel) -> Iterator[tuple[str, BaseModel]]:
    """Each section with the defaults of its own place, which may differ from its class's."""
    yield path, section
    for name in type(section).model_fields:
        below = getattr(section, name)
        if isinstance(below, BaseModel):
            yield from _sections(f"{path}.{name}" if path else name, below)


_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "at least {}",
    "pattern": "`{}`",
}


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    name = schema["type"]
    if name == "array":
        name = f"list of {_type(schema['items'])}"
    bounds = [text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema]
    return f"{name} ({', '.join(bounds)})" if bounds else name
