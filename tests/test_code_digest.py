# SPDX-License-Identifier: Apache-2.0
"""A digest changes with the code that runs, and with nothing else."""

import shutil

import pytest

import infwidth.code_digest as module
from infwidth.config.variants import ALL_VARIANTS, CODE_OF_WORD, SGD_LIKE
from infwidth.training import spec
from infwidth.training.spec import run_code_digest, variants_digest
from tests.test_extending import EDITS


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
    return {name: run_code_digest(variant) for name, variant in ALL_VARIANTS.items()}


def changed(before):
    return {name for name, digest in digests().items() if digest != before[name]}


def rows_with(words):
    return {name for name, row in ALL_VARIANTS.items() if {row.features, row.readout} & set(words)}


def test_a_comment_or_a_docstring_changes_nothing(package):
    before = digests()
    package("optim/adam_star.py", '"""', '"""Another first line.\n\n')
    package("training/loop.py", "\n\n", "\n# A comment.\n\n")
    assert digests() == before


def test_the_optimizer_changes_the_variants_that_use_it(package):
    before = digests()
    package("optim/adam_star.py", "def scale_by_adam_star(", "_X = 1\n\n\ndef scale_by_adam_star(")
    # The ablation's other rules are one module, which imports ADAM*.
    users = ("infwidth.optim.adam_star", "infwidth.training.ablation_rules")
    assert changed(before) == rows_with([w for w, used in CODE_OF_WORD.items() if used in users])


def test_the_normalisation_changes_the_variants_that_use_it(package):
    before = digests()
    package("models/normalization.py", "\ndef ", "\n_X = 1\n\n\ndef ")
    assert changed(before) == rows_with(["normalized"])


def test_the_model_changes_every_variant(package):
    before = digests()
    package("models/transformer.py", "\nclass ", "\n_X = 1\n\n\nclass ")
    assert changed(before) == set(ALL_VARIANTS)


def test_the_unit_of_rates_changes_the_variants_whose_rule_has_it(package, monkeypatch):
    before = digests()
    of_all = variants_digest([], ALL_VARIANTS.values())
    monkeypatch.setattr(spec, "SGD_LIKE", (*SGD_LIKE, "muon_star"))
    run_code_digest.cache_clear()
    assert changed(before) == rows_with(["muon_star"])
    assert variants_digest([], ALL_VARIANTS.values()) != of_all


def test_several_variants_depend_on_the_code_of_each(package):
    some = [ALL_VARIANTS[name] for name in ("frozen", "ntk_normalized", "muon_star")]
    before = variants_digest(["infwidth.training.rules"], some)
    package("training/ablation_rules.py", "\ndef ", "\n_X = 1\n\n\ndef ")
    after = variants_digest(["infwidth.training.rules"], some)
    assert before != after
    package("models/normalization.py", "\ndef ", "\n_X = 1\n\n\ndef ")
    assert after != variants_digest(["infwidth.training.rules"], some)


def test_a_new_rule_changes_no_other_run(package):
    before = digests()
    for file, old, new in EDITS:
        package(file.removeprefix("src/infwidth/"), old, new)
    assert changed(before) == set()


def test_plots_analysis_and_settings_change_no_run(package):
    before = digests()
    package("config/settings.py", "\nclass ", "\n_X = 1\n\n\nclass ")
    package("analysis/statistics.py", "\ndef ", "\n_X = 1\n\n\ndef ")
    assert digests() == before


def test_what_a_run_imports_lazily_is_named_in_its_key(package):
    """A module imported inside a function is in the digest only where a word names it."""
    import ast

    seen, frontier, lazy = set(), list(spec._RUN_CODE), set()
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
    assert lazy - seen == {CODE_OF_WORD["adam_star"], CODE_OF_WORD["normalized"]}
    by_word = [name for name in seen if "import_module(" in module._source(name).read_text()]
    assert by_word == ["infwidth.training.rules"]
    assert "import_module(CODE_OF_WORD[name])" in module._source(*by_word).read_text()


def _for_types_only(tree, node):
    import ast

    return any(
        isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test) and node in block.body
        for block in ast.walk(tree)
    )
