# SPDX-License-Identifier: Apache-2.0
"""Writes codemeta.json, .zenodo.json, croissant.json, the SBOM and the RO-Crate, or checks them.

Usage: python -m metadata write|check, in the environment of envs/tools.lock.
"""

import json
import sys
from typing import Any

from metadata.citation import ROOT, codemeta, zenodo
from metadata.crate import crate
from metadata.croissant import croissant
from metadata.sbom import sbom
from metadata.validation import validate


def contents() -> dict[str, str]:
    """What each written file must hold, by its path."""
    lock = (ROOT / "envs/run.lock").read_text(encoding="utf-8")
    return {
        "codemeta.json": _text(codemeta()),
        ".zenodo.json": _text(zenodo()),
        "croissant.json": _text(croissant()),
        "envs/run.cdx.json": _text(sbom(lock)),
        "ro-crate-metadata.json": _text(crate()),
    }


def main() -> int:
    """Writes or checks; returns the exit status."""
    action = sys.argv[1] if len(sys.argv) == 2 else ""
    if action not in ("write", "check"):
        print("usage: python -m metadata write|check", file=sys.stderr)
        return 2
    stale = []
    for name, text in contents().items():
        path = ROOT / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if action == "write":
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    if stale and action == "check":
        print(f"not up to date: {', '.join(stale)}; run `make metadata`", file=sys.stderr)
        return 1
    return validate(ROOT)


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
