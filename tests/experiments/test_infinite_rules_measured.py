# SPDX-License-Identifier: Apache-2.0
"""Differences of rules at infinite width, from a table whose answers are known."""

import pandas as pd
import pytest

from infwidth.config.errors import UserError
from infwidth.experiments.infinite_rules.measured import effects, load
from infwidth.experiments.infinite_rules.table14_infinite_rules import build
from tests.experiments.infinite_rules_synthetic import write


def test_a_run_that_diverged_or_is_missing_is_lost(tmp_path):
    folder = write(tmp_path, diverged=[("nadam_star", "plain", 11)])
    runs = pd.read_parquet(folder / "runs.parquet")
    gone = (runs["rule"] == "muon_star") & (runs["seed"] == 11)
    runs[~gone].to_parquet(folder / "runs.parquet")
    measured = load(folder)
    assert measured.difference("nadam_star", "plain").lost == 1
    assert measured.difference("muon_star", "plain").lost == 1
    assert measured.difference("adagrad_star", "plain").lost == 0


def test_effects_are_differences_by_rule_and_by_kernel(tmp_path):
    found = effects(load(write(tmp_path)))
    by_rule = {each.where: each.estimate for each in found["kernel_rules_minus_adam_star"]}
    assert by_rule["NAdam*"] == pytest.approx(0.01 * (9 - 4))
    assert len(by_rule) == 9
    by_kernel = {each.where: each.estimate for each in found["adam_star_minus_adam"]}
    expected = {"plain": -0.09, "normalized": -0.07, "shifted": -0.05}
    assert by_kernel == pytest.approx({f"{kernel} features": x for kernel, x in expected.items()})
    assert [each.estimate for each in found["shifted_minus_normalized"]] == pytest.approx([0.02])
    on_scales = {each.where: each.estimate for each in found["measured_minus_adam"]}
    assert on_scales == pytest.approx({"SGD": -0.081, "ADAM*": -0.03, "Muon on M": 0.04})
    slopes = {each.where: each.estimate for each in found["measured_slope"]}
    assert slopes == pytest.approx({"SGD": -0.5, "ADAM*": -0.5})


def test_what_did_not_run_leaves_an_effect_without_places(tmp_path):
    few = effects(load(write(tmp_path, rules=("sgd", "muon_star"), kernels=("plain",))))
    assert set(map(len, few.values())) == {0}
    alone = effects(load(write(tmp_path, rules=("adam_star",), kernels=("normalized",))))
    assert set(map(len, alone.values())) == {0}


def test_the_table_has_a_row_a_rule_and_kernel(tmp_path):
    table = build(load(write(tmp_path, diverged=[("sgd", "plain", 10)])))
    # Four rules on measured scales; two of them at three widths.
    assert len(table.raw) == len(table.shown) == 14 * 3 + 4 + 2 * 3
    finite = table.shown[table.shown["from H = ∞"] != "–"].set_index(["Rule", "H"])
    assert finite.loc[("ADAM*", "1,024"), "from H = ∞"] == "0.0625 ± 0.0000"
    shown = table.shown[table.shown["test loss"] != "–"].set_index(["Rule", "Kernel"])
    assert shown.loc[("SGD", "ReLU"), "test loss"].endswith("1 diverged")
    star = shown.loc[("ADAM*", "normalized")]
    assert (star["H"], star["minus Adam"]) == ("∞", "−0.0700 ± 0.0000")
    adam = shown.loc[("Adam, elementwise", "ReLU")]
    assert (adam["H"], adam["minus Adam"]) == ("4,096", "–")
    assert "reconstruction" in table.caption


def test_one_seed_gives_numbers_and_no_intervals(tmp_path):
    assert "±" not in " ".join(build(load(write(tmp_path, seeds=(10,)))).shown["test loss"])


@pytest.mark.parametrize(("column", "value"), [("rule", "lion"), ("kernel", "cubic")])
def test_an_unknown_name_is_one_line(tmp_path, column, value):
    runs = pd.read_parquet(write(tmp_path) / "runs.parquet")
    runs.assign(**{column: value}).to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(UserError, match=f"column '{column}' holds '{value}'"):
        load(tmp_path)
