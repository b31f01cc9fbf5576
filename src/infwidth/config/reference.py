# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema and the reference page, written from the types."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

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
    for title, section in _sections("", Settings):
        parts.append(f"\n## {title or 'Top level'}\n\n{section.__doc__}\n")
        parts.append("\n| key | type | default | meaning |\n|---|---|---|---|\n")
        schema = section.model_json_schema()["properties"]
        for name, field in section.model_fields.items():
            if not _is_section(field.annotation):
                row = (f"`{name}`", _type(schema[name]), f"`{_default(field)}`", field.description)
                parts.append("| " + " | ".join(str(cell) for cell in row) + " |\n")
    return "".join(parts)


def _sections(path: str, section: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, section
    for name, field in section.model_fields.items():
        if _is_section(field.annotation):
            assert isinstance(field.annotation, type)
            yield from _sections(f"{path}.{name}" if path else name, field.annotation)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _default(field: FieldInfo) -> str:
    return json.dumps(field.get_default(call_default_factory=True), ensure_ascii=False)


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
