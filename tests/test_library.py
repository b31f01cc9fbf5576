# SPDX-License-Identifier: Apache-2.0
"""What the installed library needs and what it costs to import."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infwidth import __version__
from infwidth.cli import entry

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/infwidth"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTIONS = {
    "markdown_it": "markdown-it-py",
    "orbax": "orbax-checkpoint",
    "sklearn": "scikit-learn",
    "snakemake_interface_executor_plugins": "snakemake",
    "yaml": "pyyaml",
}
# Modules of these three packages that are not imported with them, but for use in a flax model.
NOT_THE_LIBRARY = {"mlp.py"}


def names(lines):
    return {Requirement(line).name for line in lines}


def modules_of_others(files):
    """The modules, not of Python and not of this project, that these files import."""
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"infwidth"}


def distribution(module):
    return DISTRIBUTIONS.get(module, module.replace("_", "-"))


def test_the_library_depends_on_what_it_imports_and_on_no_more():
    files = [
        file
        for package in ("optim", "kernels", "infinite")
        for file in (SOURCE / package).glob("*.py")
        if file.name not in NOT_THE_LIBRARY
    ]
    assert modules_of_others(files) == names(PROJECT["dependencies"])


def test_the_extras_hold_everything_else_that_the_code_imports():
    imported = modules_of_others(SOURCE.rglob("*.py")) - names(PROJECT["dependencies"])
    declared = names(EXTRAS["workflow"]) | names(EXTRAS["models"]) | names(EXTRAS["figures"])
    assert {distribution(module) for module in imported} <= declared
    # What drawing needs is enough for drawing.
    drawing = [
        *(SOURCE / part for part in ("stats", "drawing", "claims", "config")),
        *(SOURCE / "cli" / f"{name}.py" for name in ("main", "draw", "parent", "plan")),
    ]
    files = [file for path in drawing for file in (path.rglob("*.py") if path.is_dir() else [path])]
    needed = {distribution(module) for module in modules_of_others(files)}
    assert needed <= names(EXTRAS["figures"]) | names(PROJECT["dependencies"])


def test_the_lock_is_made_from_the_same_packages():
    lines = (ROOT / "envs/run.in").read_text().splitlines()
    asked = names(line for line in lines if line and not line.startswith("#"))
    builds = {"hatchling", "editables"}
    everything = {*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)}
    assert asked - builds == names(everything) - {"infwidth"}


def test_every_missing_module_has_an_extra_that_brings_it():
    imported = modules_of_others(SOURCE.rglob("*.py")) - names(PROJECT["dependencies"])
    assert imported <= entry.EXTRAS.keys()
    for module, extra in entry.EXTRAS.items():
        assert distribution(module) in names(EXTRAS[extra])


SHOWN = [
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("module", SHOWN)
def test_the_examples_of_docstrings_run(module):
    failed, attempted = doctest.testmod(importlib.import_module(module))
    assert attempted > 0
    assert failed == 0


def test_importing_the_optimizers_loads_nothing_that_optax_does_not():
    code = (
        "import sys, optax; before = set(sys.modules); import infwidth.optim; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = done.stdout.split()
    assert "infwidth.optim.adam_star" in loaded
    assert [name for name in loaded if not re.match(r"infwidth(\.|$)", name)] == []
    assert len(loaded) < 12


@pytest.fixture
def run(monkeypatch):
    """Runs `infwidth` where the program's import or start raises an error."""

    def start(error, *words):
        def fails():
            raise error

        monkeypatch.setattr("infwidth.cli.main.main", fails)
        monkeypatch.setattr(sys, "argv", ["infwidth", *words])
        entry.main()

    return start


def missing(module, name):
    return ModuleNotFoundError(f"No module named '{module}'", name=name)


@pytest.mark.parametrize(
    ("module", "extra"), [("matplotlib", "figures"), ("pydantic", "figures"), ("flax", "models")]
)
def test_a_missing_package_is_one_line(module, extra, run, capsys):
    with pytest.raises(SystemExit) as ended:
        run(missing(module, f"{module}.pyplot"), "figure")
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"infwidth: the module '{module}' is not installed")
    assert f"'.[{extra}]'" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"]])
def test_the_bare_library_says_its_version_and_what_the_commands_need(words, run, capsys):
    run(missing("pydantic", "pydantic"), *words)
    printed = capsys.readouterr().out
    assert printed.startswith(__version__ if words == ["--version"] else f"infwidth {__version__}")
    assert ("pip install '.[workflow]'" in printed) == (words != ["--version"])


def test_an_interrupt_while_the_program_is_still_imported_is_one_line(run, capsys):
    with pytest.raises(SystemExit) as ended:
        run(KeyboardInterrupt())
    assert ended.value.code == 130
    line = "infwidth: interrupted; run the same command again to go on\n"
    assert capsys.readouterr().err == line


def test_a_module_that_nobody_knows_is_a_defect(run):
    with pytest.raises(ModuleNotFoundError):
        run(missing("infwidth.nonsense", "infwidth.nonsense"), "figure")
