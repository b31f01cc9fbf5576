# SPDX-License-Identifier: Apache-2.0
"""A digest changes with the code that runs, and with nothing else."""

import os
import py_compile
import shutil
from pathlib import Path

import pytest

import infwidth.code_digest as module
from infwidth.catalogue import picture_module
from infwidth.code_digest import code_digest, remember_source
from infwidth.config.errors import UserError
from infwidth.config.load import read_yaml, validate
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.optimizer_ablation.plan import parts
from infwidth.experiments.optimizer_ablation.settings import CONTEXTS
from infwidth.experiments.registry import BENCHES, REGISTRY
from infwidth.training.spec import plan_digest, run_code_digest, variants_digest
from tests.test_extending import A_RULE, change


class Package:
    """A copy of the package's source that can be edited."""

    def __init__(self, folder):
        self.folder = folder

    def edit(self, file, old, new):
        text = (self.folder / file).read_text()
        assert old in text
        (self.folder / file).write_text(text.replace(old, new))
        forget()

    def write(self, file, text):
        (self.folder / file).write_text(text)
        forget()


def forget():
    for remembered in (module._module, module._normal, run_code_digest):
        remembered.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    copy = tmp_path / "infwidth"
    shutil.copytree(module._ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "_ROOT", copy)
    forget()
    yield Package(copy)
    forget()


def digests():
    found = {name: run_code_digest(variant) for name, variant in ALL_VARIANTS.items()}
    return found | {"infinite": run_code_digest(ALL_VARIANTS["adam_star"], infinite=True)}


def changed(before):
    return {name for name, digest in digests().items() if digest != before[name]}


def rows_with(*words):
    return {name for name, row in ALL_VARIANTS.items() if {row.features, row.readout} & set(words)}


def test_what_does_nothing_changes_nothing(package):
    before = digests()
    package.edit("optim/adam_star.py", '"""\n\n', '"""\n\n# A comment.\n\n')
    package.edit("training/execute.py", '"""How training ended:', '"""How it ended.')
    package.edit("training/rules.py", "\ndef learning_rates(", "\n_X = 1\n\n\ndef learning_rates(")
    assert digests() == before


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        # The others of the family have v's of their own.
        (
            "optim/adam_star.py",
            "check_second_moment(second_moment)",
            "check_second_moment(str(second_moment))",
            (
                *("adam_star", "adam_star_global", "adam_star_factored", "adam_star_error"),
                *("adam_star_uncorrected", "nadam_star"),
            ),
        ),
        ("models/features.py", "per_omega_b", "per_omega_bias", ("normalized",)),
        (
            "training/rules.py",
            "scale_by_muon_star(t.b1)",
            "scale_by_muon_star(t.b2)",
            ("muon_star",),
        ),
        (
            "training/rules.py",
            "optax.trace(decay=t.b1), in_",
            "optax.trace(decay=t.b1), not_in_",
            ("momentum",),
        ),
    ],
)
def test_a_rule_or_treatment_changes_the_variants_that_use_it(package, file, old, new, words):
    before, of_all = digests(), variants_digest([], ALL_VARIANTS.values())
    users = variants_digest(["infwidth.training.rules"], ALL_VARIANTS.values())
    package.edit(file, old, new)
    assert changed(before) - {"infinite"} == rows_with(*words)
    assert variants_digest([], ALL_VARIANTS.values()) == of_all
    if "normalized" not in words:
        assert variants_digest(["infwidth.training.rules"], ALL_VARIANTS.values()) != users


def test_the_model_changes_every_variant(package):
    before = digests()
    package.edit("models/transformer.py", "class Block(", "class Block(object, ")
    assert changed(before) == digests().keys()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("training/runs.py", "training.batch_size, spec.seed)", "training.batch_size, 7)"),
        ("training/runs.py", 'open_split(dataset, "train")', 'open_split(dataset, "test")'),
        ("data/tokens.py", 'listed.array(f"{name}.bounds', 'listed.array(f"test.bounds'),
        ("data/listed.py", "self._array[index]", "self._array[index] % 2"),
        ("pins.py", '_THREADS, "1")', '_THREADS, "2")'),
        ("pins.py", "eigen=false", "eigen=true"),
        ("pins.py", "vector_width=256", "vector_width=512"),
    ],
)
def test_the_data_of_a_run_and_its_pins_change_every_variant(package, file, old, new):
    before = digests()
    package.edit(file, old, new)
    assert changed(before) == set(before)


def test_what_infinite_width_alone_uses_changes_that_alone(package):
    before = digests()
    package.edit("infinite/support.py", "FIRST_INPUTS = 16_384", "FIRST_INPUTS = 16_385")
    assert changed(before) == {"infinite"}


def test_other_words_are_another_digest():
    of_row = {row[:2]: run_code_digest(row) for row in ALL_VARIANTS.values()}
    assert len(set(of_row.values())) == len(of_row)
    row = ALL_VARIANTS["frozen"]
    assert run_code_digest(row._replace(label="Frozen!", note="")) == run_code_digest(row)


def test_a_new_rule_changes_no_other_run(package):
    before = digests()
    change(package.folder, A_RULE, without=3)
    forget()
    assert changed(before) == set()


def test_labels_and_descriptions_of_settings_change_no_run_and_no_plan(package):
    entries = [
        "infwidth.experiments.runs.tune",
        "infwidth.experiments.runs.report_part",
    ]
    before, plan = digests(), plan_digest(entries)
    package.edit("config/variants.py", '"Frozen features"', '"Frozen"')
    package.edit("config/settings.py", "Linear warm-up, in steps.", "Warm-up.")
    package.edit(
        "config/settings.py",
        "    final_fraction: Fraction",
        "    x: int = 1\n    final_fraction: Fraction",
    )
    assert changed(before) == set()
    assert plan_digest(entries) == plan
    # Logic that settings hold is code as any other.
    package.edit("config/section.py", "return self.data * self.fsdp\n", "return self.data\n")
    assert changed(before) == digests().keys()


def test_a_question_of_the_registry_changes_no_number(package):
    before = {name: code_digest(REGISTRY[name].code) for name in BENCHES}
    package.edit("experiments/registry.py", "Is the mean over inits", "Is it so that the mean")
    forget()
    assert {name: code_digest(REGISTRY[name].code) for name in BENCHES} == before


def test_a_label_changes_what_draws_it(package):
    def drawn(name):
        return code_digest([picture_module(name)])

    names = ("fig1_loss_vs_width", "fig11_memory", "fig9_optimizer_ablation")
    before = {name: drawn(name) for name in names}
    package.edit("config/variants.py", '"Frozen, NAdam"', '"NAdam"')
    assert {n for n in names if drawn(n) != before[n]} == {names[0], names[2]}


def test_the_jobs_of_a_context_hang_on_their_own_row(monkeypatch):
    settings = validate(read_yaml(Path("config/config.yaml")))
    before = parts(settings)
    monkeypatch.setitem(CONTEXTS, "short", CONTEXTS["short"]._replace(at_widths=True))
    monkeypatch.setitem(CONTEXTS, "standard", CONTEXTS["standard"]._replace(label="other"))
    pairs = zip(before, parts(settings), strict=True)
    assert {one.condition for one, other in pairs if one != other} == {"short"}


def test_a_move_or_another_name_changes_nothing(package):
    before = digests()
    # A module.
    (package.folder / "training/microbatches.py").rename(package.folder / "models/pieces.py")
    package.edit(
        "training/step.py",
        "from infwidth.training.microbatches import microbatch_count",
        "from infwidth.models.pieces import microbatch_count as pieces",
    )
    package.edit("training/step.py", "= microbatch_count(", "= pieces(")
    # A function, with what it uses, to the module that uses it.
    text = (package.folder / "optim/moments.py").read_text()
    start = text.index("\ndef inverse_root(")
    package.write("optim/moments.py", text[:start])
    package.edit("optim/star_rules.py", "    inverse_root,\n", "")
    users = (package.folder / "optim/star_rules.py").read_text()
    package.write("optim/star_rules.py", users + "\n" + text[start:])
    package.edit("optim/star_rules.py", " inverse_root(", " power_of_gram(")
    # A class, by way of a module's name.
    package.edit(
        "training/step.py",
        "from infwidth.training import rules\n",
        "from infwidth.training import rules as steps\n",
    )
    package.edit("training/step.py", "rules.", "steps.")
    assert changed(before) == set()


SMALL = {
    "a.py": "from infwidth.b import f as g\n\ndef start(x):\n    return g(x)\n",
    "b.py": "from math import sin\n\nUNUSED = 1\n\ndef f(x):\n    return sin(x)\n\n"
    "def h(x):\n    return -x\n",
}


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("b.py", "UNUSED = 1", "UNUSED = 2", True),
        ("a.py", "import f as g", "import h as g", False),
        ("b.py", "from math import sin", "from math import cos as sin", False),
        ("b.py", "return -x", "return +x", True),
        ("b.py", "def h", "def f", False),
        ("b.py", "UNUSED = 1", "f.called = 1", False),
        (
            "a.py",
            "from infwidth.b import f as g\n\ndef start(x):\n",
            "def start(x):\n    from infwidth.b import f as g\n",
            True,
        ),
        (
            "a.py",
            SMALL["a.py"],
            "from infwidth import b\n\ndef start(x):\n    return b.f(x)\n",
            True,
        ),
        ("b.py", "return sin(x)", "return [sin for sin in [x]] and sin(x)", False),
    ],
)
def test_names_are_followed_to_what_they_stand_for(package, file, old, new, same):
    for name, text in SMALL.items():
        package.write(name, text)
    before = code_digest(["infwidth.a.start"])
    package.edit(file, old, new)
    assert (code_digest(["infwidth.a.start"]) == before) is same


def test_a_default_counts_where_code_leaves_it_out(package):
    package.write(
        "b.py",
        "from infwidth.config.section import Section\n"
        "from pydantic import Field\n\n"
        "class Part(Section):\n    rate: float = 0.5\n\n"
        "class Base(Section):\n    seed: int = 3\n\n"
        "class Own(Base):\n"
        "    part: Part = Field(default_factory=Part, description='A part.')\n\n"
        "    def rest(self):\n        return 1\n",
    )
    uses = {
        "given": "def start(own: Own):\n    return own.seed, Own.rest\n",
        "made": "def start(own: Own):\n    return Own(seed=1)\n",
        "read": "def start(own: Own):\n    return Own.model_validate({})\n",
        "mapped": "def start(own: Own):\n    return [*map(Own, ({},))]\n",
        "far": "def start(own: Own):\n    return b.Own(seed=1)\n",
    }
    for name, use in uses.items():
        package.write(f"{name}.py", f"from infwidth import b\nfrom infwidth.b import Own\n\n{use}")

    def digests_of_uses():
        return {name: code_digest([f"infwidth.{name}.start"]) for name in uses}

    before = digests_of_uses()
    package.edit("b.py", "A part.", "Another.")
    assert digests_of_uses() == before
    for old, new in (("= 0.5", "= 0.25"), ("seed: int = 3", "seed: int = 4")):
        package.edit("b.py", old, new)
        after = digests_of_uses()
        assert {name for name in uses if after[name] != before[name]} == {*uses} - {"given"}
        before = after


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("import math\n\nmath.sin = start\n", "line 7: .* `math` what others use, too"),
        ("import math\n\nsetattr(math, 'sin', start)\n", "line 7: .* `setattr`"),
        ("import math\n\ny = math.sin = start\n", "line 7: .* `math` what others use, too"),
        ("import jax\n\nx = jax.config.update('a', 1)\n", "line 7: .* `jax.config` what others"),
        ("print()\n", "line 5: .* names no definition"),
        ("from infwidth.b import *\n", r"from infwidth.b import \*: name what is imported"),
    ],
)
def test_a_statement_that_changes_what_is_far_is_refused(package, text, mistake):
    package.write("b.py", SMALL["b.py"])
    package.write("a.py", f"def start(x):\n    return x\n\n\n{text}")
    with pytest.raises(UserError, match=mistake):
        code_digest(["infwidth.a.start"])


def test_what_types_alone_need_is_left_out_and_its_contrary_is_not(package):
    package.write("b.py", SMALL["b.py"])
    package.write("a.py", "def start(x):\n    return f(x)\n")
    without = code_digest(["infwidth.a.start"])
    head = "from typing import TYPE_CHECKING\n\nif {}:\n    from infwidth.b import f\n\n"
    package.write("a.py", head.format("TYPE_CHECKING") + "def start(x):\n    return f(x)\n")
    assert code_digest(["infwidth.a.start"]) == without
    package.write("a.py", head.format("not TYPE_CHECKING") + "def start(x):\n    return f(x)\n")
    used = code_digest(["infwidth.a.start"])
    assert used != without
    package.edit("b.py", "return sin(x)", "return sin(2 * x)")
    assert code_digest(["infwidth.a.start"]) != used


def test_a_local_name_is_not_taken_for_the_module_s(package):
    start = "def start(f):\n    return f(1), (lambda: g(2))\n"
    package.write("a.py", f"def f(x):\n    return x\n\ndef g(x):\n    return -x\n\n{start}")
    before = code_digest(["infwidth.a.start"])
    package.edit("a.py", "def f(x):\n    return x", "def f(x):\n    return 2 * x")
    assert code_digest(["infwidth.a.start"]) == before
    package.edit("a.py", "def g(x):\n    return -x", "def g(x):\n    return 2 * x")
    assert code_digest(["infwidth.a.start"]) != before


def test_of_a_table_the_rows_that_are_asked_for_count(package):
    package.write("a.py", "T = {'x': 1, 'y': 2}\n\ndef start(k):\n    return T[k]\n")

    def digest(*keys):
        return code_digest(["infwidth.a.start"], {"infwidth.a.T": keys})

    before = {keys: digest(*keys) for keys in [("x",), ("y",), ("x", "y"), ()]}
    package.edit("a.py", "2", "3")
    assert {keys for keys in before if digest(*keys) != before[keys]} == {("y",), ("x", "y")}


def test_a_name_that_is_not_there_is_an_error(package):
    with pytest.raises(ValueError, match=r"infwidth\.training\.rules\.melt: no definition"):
        code_digest(["infwidth.training.rules.melt"])
    package.write("b.py", "")
    package.write("a.py", "from infwidth.b import melt\n\ndef start():\n    melt()\n")
    with pytest.raises(ValueError, match=r"infwidth\.a imports infwidth\.b\.melt, which there is"):
        code_digest(["infwidth.a.start"])


def test_code_that_was_edited_since_the_start_is_refused(package, monkeypatch):
    monkeypatch.setenv("INFWIDTH_SOURCE", "")
    remember_source()
    before = digests()
    package.edit("drawing/style.py", "\nimport", "\n\nimport")
    assert digests() == before  # No run uses it.
    package.edit("training/execute.py", "\nimport", "\n\nimport")
    with pytest.raises(UserError, match=r"/execute\.py was edited after .*: start it again"):
        digests()
    # A workflow's jobs hold to the state at its start.
    remember_source()
    with pytest.raises(UserError):
        digests()
    monkeypatch.delenv("INFWIDTH_SOURCE")
    remember_source()
    assert digests() == before


def test_compiled_code_that_is_older_than_its_source_is_not_run(package, monkeypatch):
    monkeypatch.setenv("INFWIDTH_SOURCE", "")
    source = package.folder / "a.py"
    source.write_text("VALUE = 1\n")
    time = source.stat().st_mtime_ns
    compiled = Path(py_compile.compile(str(source)))
    source.write_text("VALUE = 2\n")
    os.utime(source, ns=(time, time))
    remember_source()
    assert not compiled.exists()
