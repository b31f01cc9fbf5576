# SPDX-License-Identifier: Apache-2.0
"""The floors of the package: a module imports only from below."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "infwidth"
PASSAGE = 'see "What may import what" in docs/extending.md'

# What each part may import of the package, besides itself and the utilities.
UTILITIES = {
    *("atomic", "stored", "code_digest", "layout", "catalogue", "checkout", "provenance", "pins"),
    "signals",
}
BELOW = {
    "config": set(),
    "data": {"config"},
    "optim": {"config"},
    "kernels": {"config"},
    "models": {"config", "optim", "kernels"},
    "infinite": {"config", "optim", "kernels", "models"},
    "training": {"config", "data", "optim", "kernels", "models", "infinite"},
    "analysis": {"config"},
    "plots": {"config", "analysis"},
    "doctor": {"config", "models", "training"},
    "experiments": {
        *("config", "data", "optim", "kernels", "models", "infinite", "training", "analysis"),
        "plots",
    },
    "planning": {"config", "data", "models", "training", "analysis", "experiments"},
}
# What single modules may besides: the settings of a study lie in its folder, and the registry,
# which imports nothing, names the studies.
BESIDES = {"config/settings.py": {"experiments"}, "catalogue.py": {"experiments"}}
# What each module at the root may: the utilities stand on the config, the others on top of all.
ROOT = {name: {"config"} for name in UTILITIES} | {
    "__init__": set(),
    "__main__": {"cli"},
    "bundle": {"config", "atomic", "checkout"},
    "provenance": {"config", "checkout", "stored"},
    "stored": {"config", "atomic", "layout"},
    "workflow": {"config", "data", "training", "cli", "code_digest"},
}
# The command line may import all, and is imported by the root alone.
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if path.parent.name != "cli"]


def imported_parts(path):
    """The parts of the package that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("infwidth"):
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (name[1] for name in names if name[0] == "infwidth" and len(name) > 1)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_below(path):
    module = path.relative_to(SOURCE)
    at_root = path.parent == SOURCE
    floors, name = (ROOT, module.stem) if at_root else (BELOW, module.parts[0])
    assert name in floors, f"{name} has no floor yet; {PASSAGE}"
    allowed = (
        BESIDES.get(str(module), set()) | floors[name] | (set() if at_root else UTILITIES | {name})
    )
    above = sorted(set(imported_parts(path)) - allowed)
    assert not above, f"{module} must not import {', '.join(above)}; {PASSAGE}"


def test_the_page_has_the_passage_that_failures_name():
    heading = re.search('"(.*)"', PASSAGE)[1]
    assert f"\n## {heading}\n" in (SOURCE.parents[1] / "docs" / "extending.md").read_text()
