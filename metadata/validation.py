# SPDX-License-Identifier: Apache-2.0
"""Validates CITATION.cff, croissant.json, the SBOM and the RO-Crate, without a network."""

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import jsonschema
import requests
from mlcroissant import Dataset, ValidationError
from requests.adapters import BaseAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "workflow-run-crate-0.5"


def validate(root: Path) -> int:
    """Prints a line for each of the four; the exit status is 0 if all are valid."""
    problems = {
        "CITATION.cff": citation_problems(root / "CITATION.cff"),
        "croissant.json": croissant_problems(root / "croissant.json"),
        "envs/run.cdx.json": sbom_problems(root / "envs/run.cdx.json"),
        "ro-crate-metadata.json": crate_problems(root),
    }
    for name, found in problems.items():
        print(f"{name}: {'valid' if not found else 'NOT VALID'}")
        for problem in found:
            print(f"  {problem}")
    return 1 if any(problems.values()) else 0


def citation_problems(path: Path) -> list[str]:
    """What cffconvert finds wrong."""
    done = _run("cffconvert", "--validate", "--infile", path)
    return [] if done.returncode == 0 else (done.stdout + done.stderr).strip().splitlines()[-1:]


def croissant_problems(path: Path) -> list[str]:
    """What mlcroissant finds wrong."""
    try:
        issues = Dataset(jsonld=path).metadata.issues
    except ValidationError as error:
        return str(error).splitlines()
    return sorted({*issues.errors, *issues.warnings})


def sbom_problems(path: Path) -> list[str]:
    """What the schema of CycloneDX 1.6 finds wrong; the library ships it with what it refers to."""
    shipped = files("cyclonedx.schema") / "_res"
    schemas = {
        name: json.loads((shipped / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    main = schemas["bom-1.6"]
    store = {schema["$id"]: schema for schema in schemas.values()}
    resolver = jsonschema.RefResolver(main["$id"], main, store, cache_remote=False)
    checker = jsonschema.Draft7Validator(main, resolver=resolver)
    content = json.loads(path.read_text(encoding="utf-8"))
    return [f"{list(e.absolute_path)}: {e.message}" for e in checker.iter_errors(content)]


def crate_problems(root: Path) -> list[str]:
    """What roc-validator finds wrong with what its profile requires."""
    with _cache_with_context() as cache, tempfile.TemporaryDirectory() as out:
        report = Path(out) / "report.json"
        done = _run(
            *("rocrate-validator", "--no-interactive", "validate"),
            *("--offline", "--cache-path", cache, "--skip-availability-check"),
            *("--profile-identifier", PROFILE, "--output-format", "json", "--output-file", report),
            root,
        )
        if not report.exists():
            return [(done.stdout + done.stderr).strip() or "roc-validator said nothing"]
        found = json.loads(report.read_text(encoding="utf-8"))
    if found["passed"] and done.returncode == 0:
        return []
    return sorted({issue["message"] for issue in found["issues"]}) or [done.stdout.strip()]


def _run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a tool of this environment."""
    command = [Path(sys.executable).parent / tool, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def _cache_with_context() -> Iterator[Path]:
    """The validator's cache, filled with the context that `rocrate` ships."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        with CachedSession(str(cache), backend="sqlite", expire_after=-1) as session:
            session.mount("https://", _ShippedContext())
            session.get(CONTEXT)
        yield cache


class _ShippedContext(BaseAdapter):
    """Answers every request with the context of RO-Crate 1.1."""

    def send(
        self, request: requests.PreparedRequest, *_: object, **__: object
    ) -> requests.Response:
        """Gives the answer."""
        text = (files("rocrate") / "data/ro-crate.jsonld").read_bytes()
        if json.loads(text)["@id"] != CONTEXT:
            raise ValueError("the context that rocrate ships is not that of RO-Crate 1.1")
        response = requests.Response()
        response.status_code = 200
        response.request, response.url = request, CONTEXT
        headers = {"Content-Type": "application/ld+json"}
        response.headers.update(headers)
        response.raw = HTTPResponse(io.BytesIO(text), headers, 200, preload_content=False)
        return response

    def close(self) -> None:
        """Holds nothing open."""
