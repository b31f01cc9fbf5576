"""What the documents show runs, and what they point to exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks/README.md"]


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
    assert float(capsys.readouterr().out) == pytest.approx(0.86, abs=0.01)


def test_the_checks_of_failures_print_what_the_page_shows(capsys):
    # One namespace for the page: its examples build on each other.
    page = (ROOT / "docs/failure_signatures.md").read_text()
    names = {}
    shown = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)
    assert len(shown) == page.count("```python") == 5
    for code, output in shown:
        exec(compile(code, "failure_signatures.md", "exec"), names)
        assert capsys.readouterr().out.split() == output.split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    inside = [target for target in targets if "://" not in target]
    assert [target for target in inside if not (page.parent / target).exists()] == []


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)", page.read_text()):
            assert re.search(rf"^[a-z -]*\b{target}\b.*:", makefile, re.MULTILINE), target
