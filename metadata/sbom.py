# SPDX-License-Identifier: Apache-2.0
"""The packages of a lock as a CycloneDX bill of materials; the same lock gives the same bytes."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from metadata.citation import project


@dataclass(frozen=True)
class Package:
    """One entry of a lock.

    Attributes:
      name: normalized, without extras.
      version: the one that is installed.
      marker: where it is installed; empty for everywhere.
      hashes: sha256 of every distribution file that the lock takes.
      required_by: the names of the packages that ask for it; "" for the project itself.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    required_by: tuple[str, ...]


def packages(lock: str) -> Iterator[Package]:
    """Reads a lock as `uv pip compile` writes it, with hashes and with "via" comments."""
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        head = re.match(r"([\w.-]+)(?:\[[^\]]*\])?==(\S+)(?: ; ([^\\]+?))? \\\n", entry)
        if head is None:
            raise ValueError(f"not an entry of a lock: {entry.splitlines()[0]}")
        name, version, marker = head.groups()
        # One parent stands on the line of "via", several below it.
        parents = re.findall(r"^    #(?: via|  ) +(\S.*)$", entry, re.MULTILINE)
        yield Package(
            name,
            version,
            marker or "",
            tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)),
            tuple("" if parent.startswith(("-r", "-c")) else parent for parent in parents),
        )


def sbom(lock: str) -> dict[str, Any]:
    """The bill of materials of a lock's text, for CycloneDX 1.6."""
    own = project()
    root = Component(
        name=own["name"],
        version=own["version"],
        type=ComponentType.APPLICATION,
        bom_ref=own["name"],
        description=own["description"],
    )
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_OID, sha256(lock.encode()).hexdigest()))
    bom.metadata.component = root
    # A package may have two versions, each for some Pythons; a parent is known by its name alone.
    found = [(entry, _component(entry)) for entry in packages(lock)]
    bom.components.update(component for _, component in found)
    needs: dict[str, list[Component]] = {root.name: []}
    for entry, component in found:
        for parent in entry.required_by:
            needs.setdefault(parent or root.name, []).append(component)
    for component in (root, *bom.components):
        bom.register_dependency(component, needs.get(component.name, []))
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    # The lock says what it holds, not when it was read.
    del written["metadata"]["timestamp"]
    return written


def _component(entry: Package) -> Component:
    marker = [Property(name="infwidth:marker", value=entry.marker)] if entry.marker else []
    return Component(
        name=entry.name,
        version=entry.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{entry.name}@{entry.version}",
        purl=PackageURL("pypi", name=entry.name, version=entry.version),
        # Of every file that the lock takes; what is installed comes from one of them.
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in entry.hashes],
        properties=marker,
    )
