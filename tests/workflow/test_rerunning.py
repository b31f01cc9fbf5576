# SPDX-License-Identifier: Apache-2.0
"""A rerun is as narrow as its cause."""

import json
import shutil
from pathlib import Path

import pytest

from infwidth.catalogue import FIGURES, LONG_TIER, TABLES
from infwidth.config.load import read_yaml, validate
from infwidth.experiments.convergence.settings import RULES
from infwidth.experiments.study import jobs_of

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

PICTURES = {*FIGURES, *TABLES}


def pictures_without(*experiments):
    """The figures and tables of all other experiments."""
    return {name for name, of in (FIGURES | TABLES).items() if of not in experiments}


def test_after_a_complete_run_there_is_nothing_to_do(checkout):
    assert checkout.planned() == {}
    words = ("infwidth", "reproduce", "--configfile", "config/smoke.yaml", "--cores", "2")
    assert "infwidth: done: see results/smoke/claims.md, " in checkout.run(*words)


def test_every_figure_and_table_is_there(checkout):
    for name in FIGURES:
        for ending in ("pdf", "png", "json"):
            assert (checkout.folder / f"paper_figures/smoke/{name}.{ending}").stat().st_size
    for name in TABLES:
        for ending in ("csv", "md", "tex"):
            assert (checkout.folder / f"results/smoke/tables/{name}.{ending}").stat().st_size
    assert "too small to judge" in (checkout.folder / "results/smoke/claims.md").read_text()


def test_what_was_deleted_is_made_again_and_no_more(checkout):
    for name, ending in zip(list(FIGURES)[:3], ("pdf", "png", "json"), strict=True):
        (checkout.folder / f"paper_figures/smoke/{name}.{ending}").unlink()
    (checkout.folder / "results/smoke/tables/table1_final_loss.tex").unlink()
    assert checkout.planned() == dict.fromkeys([*list(FIGURES)[:3], "table1_final_loss"], 1)


@pytest.mark.parametrize(
    ("file", "old", "new", "redone"),
    [
        ("config/claims.yaml", "number: 12", "number: 13", {"claims", "table5_claims"}),
        (
            "src/infwidth/experiments/lm_width/fig1_loss_vs_width.py",
            "return figure",
            "return (figure)[:]",
            {"fig1_loss_vs_width"},
        ),
        (
            "src/infwidth/drawing/style.py",
            '"font.size": 8.0',
            '"font.size": 8.5',
            FIGURES.keys(),
        ),
    ],
    ids=["rules", "a plot", "style"],
)
def test_a_change_redoes_what_it_changes_and_no_more(checkout, file, old, new, redone):
    checkout.edit(file, old, new)
    assert checkout.planned() == dict.fromkeys(redone, 1)


def test_a_mistake_in_the_rules_ends_the_workflow_before_anything_runs(fresh):
    fresh.edit("config/claims.yaml", "kind: greater", "kind: better")
    output = fresh.snakemake("-n", status=2)
    assert "infwidth: config/claims.yaml: claim 'ntk_loses_to_frozen'.rule" in output


def test_comments_and_docstrings_redo_nothing(checkout):
    checkout.edit("src/infwidth/models/transformer.py", '"""', '"""More words. ')
    checkout.edit(
        "src/infwidth/training/execute.py", "\nimport math", "\n# A comment.\nimport math"
    )
    checkout.edit("src/infwidth/drawing/style.py", '"""', '"""More words. ')
    assert checkout.planned() == {}


def test_a_change_in_the_optimizer_retrains_what_uses_it(checkout):
    checkout.edit(
        "src/infwidth/optim/adam_star.py",
        "check_second_moment(second_moment)",
        "check_second_moment(str(second_moment))",
    )
    planned = checkout.planned()
    assert planned == {
        **{"tune": 1, "train_widths": 1, "collect": 1},
        "infinite_lm_train": 1,
        **{"convergence_models": len(RULES), "convergence": 1, "expected_value": 1, "memory": 1},
        **{"infinite_rules_models": 2, "infinite_rules": 1},
        **{"feature_selection": 1},
        **{"architectures_models": 1, "architectures": 1, "claims": 1},
        # Of the studies, the ladder alone has ADAM* here.
        **{"measure": 3, "gather": 2, "gather_runs": 2},
        # feature_support trains in coefficients, by infwidth.infinite.
        **dict.fromkeys(pictures_without("feature_support", "depth", "readings", "scales"), 1),
    }
    before = checkout.results()
    checkout.snakemake("train")
    after = checkout.results()
    assert before.items() <= after.items()
    new = [checkout.folder / f"results/smoke/runs/{key}" for key in after.keys() - before.keys()]
    assert new
    rules = {json.loads((folder / "settings.json").read_text())["readout"] for folder in new}
    assert rules == {"adam_star"}


TRAINING = ("tune", "train_widths", "infinite_lm_train", "architectures_models")


def test_another_rule_of_a_variant_trains_that_variant_alone(checkout):
    table = "src/infwidth/config/variants.py"
    checkout.edit(table, '"frozen": Variant("fixed", "adam"', '"frozen": Variant("fixed", "nadam"')
    planned = checkout.planned()
    assert [planned.get(rule) for rule in TRAINING] == [1, 1, 1, 1]
    assert "convergence_models" not in planned


def test_another_label_draws_and_trains_nothing(checkout):
    checkout.edit("src/infwidth/config/variants.py", '"Frozen features"', '"Frozen"')
    planned = checkout.planned()
    # The studies' plans are made from the table of variants, and gathered anew.
    assert planned.keys() <= {*PICTURES, "claims", "collect", "gather", "gather_runs"}
    assert planned["fig1_loss_vs_width"] == planned["table1_final_loss"] == 1


def test_what_a_context_changes_trains_that_context_alone(checkout):
    folder = "src/infwidth/experiments/optimizer_ablation"
    checkout.edit(f"{folder}/settings.py", 'Context("other widths"', 'Context("some widths"')
    assert checkout.planned().keys() <= {*PICTURES, "claims", "gather_runs"}
    checkout.edit(f"{folder}/plan.py", "training.steps // 3", "training.steps // 2")
    assert checkout.planned().keys() <= {*PICTURES, "claims", "gather_runs"}
    checkout.edit(f"{folder}/plan.py", '"readout_init": "ntk"', '"readout_init": "normal"')
    assert checkout.planned()["measure"] == 1
    assert not {*TRAINING, "infinite_rules_models"} & checkout.planned().keys()


def test_fewer_seeds_at_one_rate_train_nothing(checkout):
    before = checkout.results()
    checkout.snakemake("train", "--config", "lm_width={one_rate_seeds: 0}")
    assert checkout.results() == before


def test_a_stranger_who_imports_the_runs_trains_one_more_seed_alone(checkout, fresh):
    words = ("--configfile", "config/smoke.yaml")
    checkout.run("infwidth", "runs", "export", "runs.tar.xz", *words)
    archive = str(checkout.folder / "runs.tar.xz")
    before = checkout.results()
    imported = f"{len(before)} runs imported, 0 there already"
    assert imported in fresh.run("infwidth", "runs", "import", archive, *words)
    there = fresh.results()
    fresh.snakemake("train", "--config", "lm_width={seeds: [10, 11, 12]}")
    assert there.keys() == before.keys()
    assert there.items() <= fresh.results().items()
    # Four variants at two widths, and the control at its one.
    assert len(fresh.results()) - len(there) == 4 * 2 + 1


def test_a_forced_figure_is_redrawn_alone_and_forced_training_finds_its_runs(checkout):
    assert checkout.planned("-R", "fig1_loss_vs_width") == {"fig1_loss_vs_width": 1}
    before = checkout.results()
    checkout.snakemake("-R", "train_widths", "--until", "train_widths")
    assert checkout.results() == before


def test_retrain_trains_anew_and_leaves_nothing_to_do(checkout):
    before = checkout.results()
    checkout.snakemake("train", "--forceall", "--config", "retrain=true")
    after = checkout.results()
    assert after.keys() == before.keys()
    assert {key for key in before if after[key] > before[key]} == checkout.lm_width_keys()
    assert checkout.planned("train") == {}


def test_a_fresh_clone_plans_every_training_and_figures_tables_and_train_are_targets(fresh):
    planned = fresh.planned()
    assert planned["tune"] == 5
    assert planned["train_widths"] == 5
    assert planned.keys() >= PICTURES
    assert not PICTURES & fresh.planned("train").keys()
    assert PICTURES & fresh.planned("figures").keys() == set(FIGURES)
    assert PICTURES & fresh.planned("tables").keys() == set(TABLES)


def test_nothing_counts_as_done_because_of_what_is_committed(fresh):
    """The default configuration, without and with what is committed; publishing waits for all."""
    before = fresh.planned_by_default()
    shutil.copytree(ROOT / "results/published", fresh.folder / "results/published")
    for folder in ("results", "paper_figures"):
        (fresh.folder / folder).mkdir(exist_ok=True)
        shutil.copy(ROOT / folder / "README.md", fresh.folder / folder)
    planned = fresh.planned_by_default("publish")
    assert planned == before | {"publish": 1}
    settings = validate(read_yaml(ROOT / "config/config.yaml"))
    assert planned["train_widths"] == planned["tune"] == len(jobs_of("lm_width", settings))
    assert planned.keys() & PICTURES == pictures_without(*LONG_TIER)
