# SPDX-License-Identifier: Apache-2.0
"""The bill of materials lists exactly what the lock holds."""

import json
from pathlib import Path

LOCK = Path("envs/run.lock").read_text(encoding="utf-8")
SBOM = json.loads(Path("envs/run.cdx.json").read_text(encoding="utf-8"))


def locked():
    """By name and version: hashes and marker, read line by line."""
    found = {}
    for line in LOCK.splitlines():
        if not line.startswith((" ", "#")):
            pin, _, marker = line.removesuffix("\\").strip().partition(" ; ")
            name, version = pin.split("==")
            name = name.partition("[")[0]
            hashes = set()
            found[name, version] = (hashes, marker)
        elif line.strip().startswith("--hash="):
            hashes.add(line.split("sha256:")[1].split()[0])
    return found


def test_it_lists_exactly_the_packages_of_the_lock_with_versions_hashes_and_markers():
    listed = {}
    for component in SBOM["components"]:
        markers = [each["value"] for each in component.get("properties", [])]
        assert {each["alg"] for each in component["hashes"]} == {"SHA-256"}
        listed[component["name"], component["version"]] = (
            {each["content"] for each in component["hashes"]},
            "".join(markers),
        )
    assert len(listed) == len(SBOM["components"]) > 100
    assert listed == locked()


def test_purls_name_the_same_versions():
    for component in SBOM["components"]:
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"


def test_every_package_is_needed_by_the_project_or_by_another():
    depends = {each["ref"]: set(each.get("dependsOn", ())) for each in SBOM["dependencies"]}
    assert depends.keys() == {"infwidth", *(each["bom-ref"] for each in SBOM["components"])}
    reached, frontier = set(), {"infwidth"}
    while frontier:
        reached |= frontier
        frontier = set().union(*(depends[ref] for ref in frontier)) - reached
    assert reached == depends.keys()
    assert any(ref.startswith("jax@") for ref in depends["infwidth"])


def test_it_holds_no_time():
    assert "timestamp" not in SBOM["metadata"]
