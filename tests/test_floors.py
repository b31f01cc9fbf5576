# SPDX-License-Identifier: Apache-2.0
"""The floors of the package: a module imports only from below."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "infwidth"

# What each part may import of the package, besides itself.
UTILITIES = {"atomic", "code_digest", "layout", "catalogue", "checkout", "provenance"}
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
        *("config", "data", "optim", "kernels", "models", "infinite", "training", "analysis")
    },
    "planning": {"config", "data", "models", "training", "analysis", "experiments"},
}
# The command line stands on top of all, and the modules at the root beside them.
MODULES = [
    path
    for path in sorted(SOURCE.rglob("*.py"))
    if path.parent != SOURCE and path.parent.name != "cli"
]


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
    part = path.relative_to(SOURCE).parts[0]
    allowed = BELOW[part] | UTILITIES | {part}
    assert set(imported_parts(path)) - allowed == set()


def test_utilities_stand_on_the_config_alone():
    for name in UTILITIES:
        # A record of provenance names the checkout, too.
        below = {"config", "checkout"} if name == "provenance" else {"config"}
        assert set(imported_parts(SOURCE / f"{name}.py")) <= below
