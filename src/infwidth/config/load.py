# SPDX-License-Identifier: Apache-2.0
"""From files and overrides to validated settings; every mistake becomes one line."""

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from infwidth.config.errors import UserError, and_more
from infwidth.config.section import Section
from infwidth.config.settings import Settings

DEFAULT_CONFIG = Path("config/config.yaml")

CLAIMS = Path("config/claims.yaml")
"""The rules by which claims are judged, which are no configuration: `infwidth.claims.schema`."""


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Merges `overlay` into `base` as Snakemake does: maps are merged, all else is replaced."""
    merged = dict(base)
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def read_config(files: Iterable[str | Path] = (), overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Reads the default configuration, overlays `files`, then overrides `KEY=VALUE`, in YAML."""
    config: dict[str, Any] = {}
    for file in [DEFAULT_CONFIG, *map(Path, files)]:
        config = merge(config, read_yaml(file))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(
                f"--config {override}: write KEY=VALUE, as in 'lm_width={{seeds: [10, 11]}}'"
            )
        config = merge(config, {key: parse_yaml(f"--config {key}", value)})
    return config


def validate(config: Mapping[str, Any]) -> Settings:
    """Validates a merged configuration; what it leaves out has the default of its place.

    The first mistake is one line: its key, its place, the nearest known key, what is allowed.
    """
    try:
        # A map that is there in part would get its class's defaults.
        return Settings.model_validate(merge(Settings().model_dump(mode="json"), config))
    except ValidationError as error:
        raise UserError(_describe(error, config)) from None


def pick(settings: Settings, paths: Iterable[str]) -> dict[str, Any]:
    """The part of `settings` that the dotted `paths` name, as plain JSON values."""
    whole = settings.model_dump(mode="json")
    picked: dict[str, Any] = {}
    for path in paths:
        *parents, leaf = path.split(".")
        source, target = whole, picked
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[leaf] = source[leaf]
    return picked


def restrict(settings: Settings, paths: Iterable[str]) -> Settings:
    """A copy of `settings` in which only the dotted `paths` can be read.

    Reading anything else raises AttributeError, so a command cannot come to depend on a setting
    that its rule does not declare.
    """
    return _rebuild(Settings, pick(settings, paths))


def parse_slice(text: str) -> Settings:
    """Reads the `--settings` argument: a slice of validated settings that a rule hands over.

    Only what the slice holds can be read from the result, as with `restrict`.
    """
    try:
        return _rebuild(Settings, json.loads(text))
    except (ValueError, RecursionError, LookupError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"--settings is not the JSON of settings ({what}); by hand, use --configfile"
        ) from None


def _rebuild(section: type[Section], values: Mapping[str, Any]) -> Any:
    # The values were validated as a whole; the checks between settings cannot be run on a part.
    rebuilt = section.model_construct()
    rebuilt.__dict__.clear()
    for name, value in values.items():
        annotation = section.model_fields[name].annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            value = _rebuild(annotation, value)
        rebuilt.__dict__[name] = value
    return rebuilt


def read_yaml(file: Path) -> dict[str, Any]:
    """Reads a file of `key: value` lines."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        there = sorted(str(path) for path in Path("config").glob("*.yaml") if path != CLAIMS)
        known = f"known: {', '.join(there)}" if there else "none here: run this in a checkout"
        raise UserError(f"{file}: no such configuration file ({known})") from None
    except OSError as error:
        raise UserError(
            f"{file}: cannot be read ({error.strerror}); name a configuration file"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 ({error.reason}); save it as UTF-8") from None
    content = parse_yaml(str(file), text)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected settings as `key: value` lines")
    return content


def parse_yaml(source: str, text: str) -> Any:
    """Reads YAML in which no map has a key twice: PyYAML would keep the last, without a word.

    An error's line begins with `source`.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check_keys(source, node, set())
        return loader.construct_document(node)
    # A date that does not exist is a ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None


def _check_keys(source: str, node: yaml.Node, seen: set[yaml.Node]) -> None:
    # What has aliases would be looked at once for each.
    if isinstance(node, yaml.ScalarNode) or node in seen:
        return
    seen.add(node)
    values = node.value
    if isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            identity, line = (key.tag, str(key.value)), key.start_mark.line + 1
            if identity in lines:
                raise UserError(
                    f"{source}: '{key.value}' is in line {lines[identity]} and again in line "
                    f"{line}; give each key once"
                )
            lines[identity] = line
        values = [value for _, value in node.value]
    for value in values:
        _check_keys(source, value, seen)


def _describe(error: ValidationError, config: Mapping[str, Any]) -> str:
    first = error.errors()[0]
    # A union's location ends in a name that is no key: keep what can be followed in the input.
    place = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
    if first["type"] == "extra_forbidden":
        *parents, key = first["loc"]
        known = list(_section_at(parents).model_fields)
        near = difflib.get_close_matches(str(key), known, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        text = f"unknown key '{place}'; {hint}Allowed here: {', '.join(known)}"
    elif first["type"] == "value_error":
        text = f"{place}: " * bool(place) + str(first["ctx"]["error"])
    else:
        text = f"{place}: {first['msg']} (got {first['input']!r})"
    return f"configuration: {text}{and_more(error.error_count())}"


def _section_at(path: Iterable[Any]) -> type[BaseModel]:
    section: type[BaseModel] = Settings
    for part in path:
        annotation = section.model_fields[str(part)].annotation
        options = [annotation, *get_args(annotation)]
        section = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return section
