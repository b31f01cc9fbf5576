# SPDX-License-Identifier: Apache-2.0
"""What the documents show runs, and what they point to exists."""

import itertools
import json
import re
import shlex
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from infwidth.config.load import read_config, validate
from infwidth.config.variants import ALL_VARIANTS

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(
        ROOT / f"{folder}/README.md"
        for folder in ("benchmarks", "config", "paper_figures", "results")
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
OVERRIDING = [
    command
    for page in PAGES
    for command in re.findall(
        r"^(?: {4}|\$ )?((?:infwidth|snakemake) .*--config .*)$", page.read_text(), re.MULTILINE
    )
]


def _run_example(place):
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(examples) == 2
    names = {}
    exec(compile(examples[place], "README.md", "exec"), names)
    return names


def test_the_example_of_adam_star_runs():
    names = _run_example(0)
    start = float(names["loss"](names["M"] * 0.0))
    assert float(names["loss"](names["M"])) < 0.1 * start


def test_the_example_at_infinite_width_reads_digits(capsys):
    _run_example(1)
    assert float(capsys.readouterr().out) == pytest.approx(0.96, abs=0.01)


@pytest.mark.parametrize(("name", "count"), [("failure_signatures.md", 5), ("tutorial.md", 1)])
def test_examples_print_what_the_page_shows(name, count, capsys):
    # One namespace for the page: its examples build on each other.
    page = (ROOT / "docs" / name).read_text()
    names = {}
    shown = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
    assert len(shown) == page.count("```python") == count
    for code, output in shown:
        exec(compile(code, name, "exec"), names)
        assert capsys.readouterr().out.split() == output.split()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_prints_what_it_shows(notebook, capsys):
    plt.switch_backend("agg")
    names = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), notebook.name, "exec"), names)
            shown = "".join(line for output in cell["outputs"] for line in output["text"])
            assert capsys.readouterr().out == shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    inside = [target for target in targets if "://" not in target]
    assert [target for target in inside if not (page.parent / target).exists()] == []


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)", page.read_text()):
            assert re.search(rf"^[a-z -]*\b{target}\b.*:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("command", OVERRIDING)
def test_the_settings_of_every_command_that_is_shown_are_valid(command, monkeypatch):
    # The rows that the tutorial and the page on extending add.
    monkeypatch.setitem(ALL_VARIANTS, "unfrozen_adam_star", ALL_VARIANTS["unfrozen"])
    monkeypatch.setitem(ALL_VARIANTS, "nesterov", ALL_VARIANTS["momentum"])
    words = shlex.split(command, comments=True)
    given = {
        option: [value for word, value in itertools.pairwise(words) if word == option]
        for option in ("--configfile", "--config")
    }
    assert given["--config"]
    validate(read_config(given["--configfile"], given["--config"]))


def test_the_page_of_determinism_names_tests_that_exist():
    page = (ROOT / "docs/determinism.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    code = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) >= 5
    assert [name for name in named if f"def {name}(" not in code] == []
    files = set(re.findall(r"`(test_\w+\.py)`", page))
    assert files <= {file.name for file in (ROOT / "tests").rglob("test_*.py")}
    assert len(files) >= 4


def test_the_navigation_holds_every_page_of_the_docs_that_is_there_for_readers():
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = {
        str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")
    }
    pages |= {f"notebooks/{notebook.stem}.md" for notebook in NOTEBOOKS}
    assert [page for page in pages if f": {page}\n" not in navigation] == []
