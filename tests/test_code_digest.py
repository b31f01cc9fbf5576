# SPDX-License-Identifier: Apache-2.0
"""A digest changes with the code that runs, and with nothing else."""

import shutil

import pytest

import infwidth.code_digest as module
from infwidth.config.variants import VARIANTS
from infwidth.training.spec import run_code_digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package's source that can be edited."""
    copy = tmp_path / "infwidth"
    shutil.copytree(module._ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "_ROOT", copy)

    def edit(file, old, new):
        text = (copy / file).read_text()
        assert old in text
        (copy / file).write_text(text.replace(old, new, 1))
        forget()

    def forget():
        for remembered in (module._module_digest, module._imports, run_code_digest):
            remembered.cache_clear()

    forget()
    yield edit
    forget()


def digests():
    return {name: run_code_digest(variant) for name, variant in VARIANTS.items()}


def test_a_comment_or_a_docstring_changes_nothing(package):
    before = digests()
    package("optim/adam_star.py", '"""', '"""Another first line.\n\n')
    package("training/loop.py", "\n\n", "\n# A comment.\n\n")
    assert digests() == before


def test_the_optimizer_changes_the_variants_that_use_it(package):
    before = digests()
    package("optim/adam_star.py", "def scale_by_adam_star(", "_X = 1\n\n\ndef scale_by_adam_star(")
    changed = {name for name, digest in digests().items() if digest != before[name]}
    assert changed == {"adam_star", "adam_star_normalized"}


def test_the_normalisation_changes_the_variants_that_use_it(package):
    before = digests()
    package("models/normalization.py", "\ndef ", "\n_X = 1\n\n\ndef ")
    changed = {name for name, digest in digests().items() if digest != before[name]}
    assert changed == {"ntk_normalized", "adam_star_normalized"}


def test_the_model_changes_every_variant(package):
    before = digests()
    package("models/transformer.py", "\nclass ", "\n_X = 1\n\n\nclass ")
    assert all(digest != before[name] for name, digest in digests().items())


def test_plots_analysis_and_settings_change_no_run(package):
    before = digests()
    package("config/settings.py", "\nclass ", "\n_X = 1\n\n\nclass ")
    package("analysis/statistics.py", "\ndef ", "\n_X = 1\n\n\ndef ")
    assert digests() == before


def test_what_a_run_imports_lazily_is_named_in_its_key(package):
    """A module imported inside a function is in the digest only where spec.py names it."""
    import ast

    from infwidth.training.spec import _CODE_OF_WORD, _RUN_CODE

    seen, frontier, lazy = set(), list(_RUN_CODE), set()
    while frontier:
        name = frontier.pop()
        if name in seen or name.startswith("infwidth.config"):
            continue
        seen.add(name)
        tree = ast.parse(module._source(name).read_text())
        top = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = list(module._imported(node))
                if id(node) in top:
                    frontier += names
                elif not _for_types_only(tree, node):
                    lazy |= set(names)
    assert lazy - seen == set(_CODE_OF_WORD.values())


def _for_types_only(tree, node):
    import ast

    return any(
        isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test) and node in block.body
        for block in ast.walk(tree)
    )
