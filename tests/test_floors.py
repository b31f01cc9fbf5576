# SPDX-License-Identifier: Apache-2.0
"""The floors of the package: a module imports only from below."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "infwidth"
PASSAGE = 'see "What may import what" in docs/extending.md'

# What each part may import of the package, besides itself and the utilities.
UTILITIES = {
    *("atomic", "stored", "code_digest", "layout", "catalogue", "provenance", "pins", "signals")
}
LIBRARY = {"optim", "kernels", "infinite", "models"}
BELOW = {
    "config": set(),
    "data": {"config"},
    "optim": {"config"},
    "kernels": {"config"},
    "models": {"config", "optim", "kernels"},
    "infinite": {"config", "optim", "kernels", "models"},
    "training": {"config", "data"} | LIBRARY,
    "stats": {"config"},
    "drawing": {"config", "stats"},
    "experiments": {"config", "data", "training", "stats", "drawing"} | LIBRARY,
    "claims": {"config", "stats", "drawing"},
    "artifact": {"config", "data", "training", "stats", "drawing", "experiments", "claims"}
    | LIBRARY,
}
# What single modules may besides: the settings of an experiment lie in its folder, and the registry
# imports nothing.
BESIDES = {
    "config/settings.py": {"experiments"},
    "catalogue.py": {"experiments"},
}
# What each module at the root may: the utilities stand on the config, the others on top of all.
ROOT = {name: {"config"} for name in UTILITIES} | {
    "__init__": set(),
    "__main__": {"cli"},
    "provenance": {"config", "stored"},
    "stored": {"config", "atomic", "layout"},
    "workflow": {"config", "data", "training", "cli", "code_digest", "experiments"},
}
# In the folder of an experiment these draw and judge, and so do without JAX.
LIGHT = re.compile(r"(settings|plan|measured|effects|fig\d+_\w+|table\d+_\w+)\.py")
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


def test_what_draws_and_judges_does_without_jax():
    light = [path for path in MODULES if LIGHT.fullmatch(path.name)]
    names = [
        f"infwidth.{'.'.join(path.relative_to(SOURCE).with_suffix('').parts)}" for path in light
    ]
    code = f"import importlib, sys; [importlib.import_module(name) for name in {names}]"
    code += "; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
