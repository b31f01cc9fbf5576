# SPDX-License-Identifier: Apache-2.0
"""codemeta.json and .zenodo.json, made from CITATION.cff and pyproject.toml."""

import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def citation() -> dict[str, Any]:
    """What CITATION.cff says."""
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    """The table `project` of pyproject.toml, where the version comes from."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def codemeta() -> dict[str, Any]:
    """The software in CodeMeta 2.0's terms."""
    cited, own = citation(), project()
    paper = cited["preferred-citation"]
    return {
        "@context": "https://doi.org/10.5063/schema/codemeta-2.0",
        "@type": "SoftwareSourceCode",
        "name": cited["title"],
        "identifier": own["name"],
        "description": cited["abstract"],
        "version": own["version"],
        "datePublished": cited["date-released"],
        "license": f"https://spdx.org/licenses/{own['license']}",
        "author": [_organization(author) for author in cited["authors"]],
        "keywords": cited["keywords"],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {own['requires-python']}",
        "operatingSystem": ["Linux", "macOS"],
        "softwareRequirements": own["dependencies"],
        "readme": "README.md",
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "@id": f"https://doi.org/{paper['doi']}",
            "name": paper["title"],
            "author": [
                {
                    "@type": "Person",
                    "givenName": author["given-names"],
                    "familyName": author["family-names"],
                }
                for author in paper["authors"]
            ],
            "datePublished": str(paper["year"]),
            "url": paper["url"],
        },
    }


def zenodo() -> dict[str, Any]:
    """What Zenodo is to say of a deposit."""
    cited, own = citation(), project()
    return {
        "title": cited["title"],
        "upload_type": "software",
        "description": cited["abstract"],
        "creators": [{"name": author["name"]} for author in cited["authors"]],
        "version": own["version"],
        "publication_date": cited["date-released"],
        "license": own["license"],
        "access_right": "open",
        "keywords": cited["keywords"],
        "related_identifiers": [
            {
                "identifier": cited["preferred-citation"]["doi"],
                "scheme": "doi",
                "relation": "references",
                "resource_type": "publication-preprint",
            }
        ],
    }


def _organization(author: dict[str, str]) -> dict[str, str]:
    return {"@type": "Organization", "name": author["name"]}
