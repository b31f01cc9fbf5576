# SPDX-License-Identifier: Apache-2.0
"""The changes that docs/extending.md shows are made, and what they add works."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from infwidth.stored import load_table
from tests.workflow.conftest import ROOT, copy_project

A_RULE = "A new rule for the readout"


def change(folder, heading, without=1):
    """Makes the changes in the boxes under a heading of the page, but for a path's first parts."""
    page = Path("docs/extending.md").read_text()
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?:^## |\Z)", page, re.DOTALL | re.MULTILINE)
    boxes = re.findall(r"^```diff\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert boxes
    apply = ["git", "apply", "--unidiff-zero", f"-p{without}", "-"]
    for box in boxes:
        subprocess.run(apply, cwd=folder, input=box, text=True, check=True)


def changed(folder, heading):
    """A copy of the project with these changes."""
    checkout = copy_project(folder)
    change(checkout.folder, heading)
    return checkout


@pytest.mark.slow
def test_a_new_rule_trains_and_is_planned(tmp_path):
    checkout = changed(tmp_path / "project", A_RULE)
    own = ("--config", "optimizer_ablation={variants: [nesterov], contexts: []}")

    def planned():
        plan = checkout.run("infwidth", "plan", "--json", "--configfile", "config/smoke.yaml", *own)
        rows = {row["experiment"]: row["states"] for row in json.loads(plan)["experiments"]}
        return rows["optimizer_ablation"]

    assert planned() == {"new": 2, "waits": 2}
    checkout.snakemake("results/smoke/optimizer_ablation/parts/base-nesterov-4.json", *own)
    assert planned() == {"done": 4}
    # The page of costs is of the default, which runs every row, and of what is published.
    published = checkout.folder / "results/published"
    published.symlink_to(ROOT / "results/published")
    checkout.run("infwidth", "plan", "--page")
    assert (checkout.folder / "docs/costs.md").exists()


AT_BOTH_WIDTHS = """
import jax, jax.numpy as jnp, numpy as np, optax
from infwidth import infinite, optim

y_NxE = jax.random.normal(jax.random.key(1), (6, 2))
features_NxH = jax.nn.relu(jax.random.normal(jax.random.key(2), (6, 5)))
theta_NxN = features_NxH @ features_NxH.T / 5
finite, infinite_rule = optim.adamax_star(0.1), infinite.adamax_star(0.1)
m_HxE, c_NxE = jnp.zeros((5, 2)), jnp.zeros((6, 2))
state, other = finite.init(m_HxE), infinite_rule.init(c_NxE)
for _ in range(5):
    delta_NxE = features_NxH @ m_HxE / 5 - y_NxE
    updates, state = finite.update(features_NxH.T @ delta_NxE, state, m_HxE)
    m_HxE = optax.apply_updates(m_HxE, updates)
    gradient = infinite.FunctionalGradient(delta_NxE, jnp.arange(6), theta_NxN, theta_NxN)
    updates, other = infinite_rule.update(gradient, other, c_NxE)
    c_NxE = infinite.apply_updates(c_NxE, updates)
np.testing.assert_allclose(features_NxH.T @ c_NxE, m_HxE, rtol=1e-4)

jax.config.update("jax_numpy_dtype_promotion", "standard")  # which optax needs here
g_1xE = jnp.ones((1, 3))
ours, theirs = optim.adamax_star(0.1), optax.adamax(0.1)
updates, _ = ours.update(g_1xE, ours.init(g_1xE))
expected, _ = theirs.update(g_1xE, theirs.init(g_1xE))
np.testing.assert_allclose(updates, expected, rtol=1e-6)
"""


@pytest.mark.slow
def test_a_new_star_rule_is_one_rule_at_both_widths(tmp_path):
    checkout = changed(tmp_path / "project", "A new star rule, at both widths")
    (checkout.folder / "walk.py").write_text(AT_BOTH_WIDTHS)
    checkout.run("walk")


@pytest.mark.slow
def test_a_new_experiment_is_measured_and_drawn(tmp_path):
    checkout = changed(tmp_path / "project", "A new experiment")
    checkout.snakemake("fig18_spectrum")
    assert (checkout.folder / "paper_figures/smoke/fig18_spectrum.png").exists()


@pytest.mark.slow
def test_a_new_column_is_stored(tmp_path):
    checkout = changed(tmp_path / "project", "A new column")
    out = tmp_path / "measured"
    smoke = ("--configfile", "config/smoke.yaml")
    checkout.run("infwidth", "gather", "memory", *smoke, "--out", str(out))
    assert (load_table(out / "state.parquet")["trunk"] > 0).all()
