# SPDX-License-Identifier: Apache-2.0
"""What single figures show is what was measured."""

import math

import pytest

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.table import latex, markdown
from infwidth.experiments.width_limit.table8_width_limit import build
from tests.drawing.pictures import LM_WIDTH, PICTURES
from tests.drawing.test_figures import said

FIG4, FIG5, FIG6 = "fig4_finite_to_infinite", "fig5_infinite_transformer", "fig6_expected_value"
FIG7, FIG8, FIG9 = "fig7_feature_selection", "fig8_feature_support", "fig9_optimizer_ablation"
FIG10, FIG11, FIG12 = "fig10_architectures", "fig11_memory", "fig12_width_limit"


@pytest.mark.parametrize("name", [name for name, each in PICTURES.items() if each is LM_WIDTH])
def test_a_rate_that_is_not_interior_is_marked(drawn, name):
    words = said(drawn(name, "diverged, edges, a proxy"))
    assert "Frozen features †" in words
    assert "ADAM* NTK †" not in words
    assert "† Not interior" in words


@pytest.mark.parametrize("case", PICTURES[FIG4].cases)
def test_distances_of_all_kernel_rules_at_all_widths_and_their_slopes(measured, drawn, case):
    found, figure = measured(FIG4, case), drawn(FIG4, case)
    assert f"SGD: −{-found.slope('sgd', 'test').mean.estimate:.3f}" in said(figure)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == len(found.widths)]
    assert len(lines) >= 3


def test_the_infinite_model_stands_right_of_every_width(drawn):
    losses = drawn(FIG5, "full").axes[1]
    open_markers = [
        line for line in losses.lines if line.get_markerfacecolor() == "white" and line.get_marker()
    ]
    assert len(open_markers) == 2
    labels = [tick.get_text() for tick in losses.get_xticklabels()]
    for line in open_markers:
        (x,) = line.get_xdata()
        assert x > 4096
        assert labels[list(losses.get_xticks()).index(x)] == "∞"


def test_an_unresolved_bias_is_an_arrow_and_is_said(measured, drawn):
    found, figure = measured(FIG6, "unresolved"), drawn(FIG6, "unresolved")
    arrows = [line for line in figure.axes[1].lines if line.get_marker() == 7]
    lost = [c for case in found.cases for c in found.trained(case) if not c.resolved]
    assert len(arrows) == sum(cell.bias.upper > 0 for cell in lost) > 0
    assert "Not resolved" in said(figure)
    assert "Not resolved" not in said(drawn(FIG6, "resolved"))


def test_a_biased_fixed_half_is_crossed_and_said(drawn):
    words = said(drawn(FIG6, "biased"))
    assert "is not within that error at H = 1, 4, 16, 64 (crosses)" in words
    assert "is within that error at every width" in said(drawn(FIG6, "resolved"))


def test_curves_are_where_the_measurements_are(measured, drawn):
    case = "many widths and rates, diverged"
    found, figure = measured(FIG7, case), drawn(FIG7, case)
    curves = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    at = {"dimension": 2, "kappa": 1.0}
    expected = [
        found.typical("density_ratio", "error", width=4**k, **at).estimate for k in range(2, 9)
    ]
    assert list(curves[r"$D$ = 2, $\kappa$ = 1"].get_ydata()) == pytest.approx(expected)
    (mass,) = (x for x in figure.axes[2].lines if x.get_label() == "ADAM*, frozen")
    at = {"rule": "adam_star", "width": 2048}
    expected = [found.mean("planted", "aligned", step=s, **at).estimate for s in (1, 10, 100)]
    assert list(mass.get_ydata()) == pytest.approx(expected)
    assert list(curves["SGD, retrained"].get_ydata()) == pytest.approx([0.5] * 6)


def test_residuals_are_dashed_lines_in_both_panels(measured, drawn):
    found = measured(FIG8, "full")
    wanted = sorted(found.residual(case) for case in found.limited)
    for axes in drawn(FIG8, "full").axes[-2:]:
        flat = [line.get_ydata() for line in axes.lines if len(set(line.get_xdata())) == 2]
        assert sorted(y[0] for y in flat if y[0] == y[1]) == pytest.approx(wanted)


def test_what_is_not_at_its_residual_is_said(drawn):
    words = said(drawn(FIG8, "full"))
    assert "The best readout is at the residual within 0.01 (95%) in every case" in words
    words = said(drawn(FIG8, "every case apart"))
    assert "within 0.01 (95%), but for total; total, plane; subspace" in words


def test_rules_stand_in_the_order_of_their_loss(drawn):
    rules = drawn(FIG9, "full").axes[0]
    points = [line.get_xdata()[0] for line in rules.lines if line.get_marker() not in ("None", "")]
    assert len(points) == len(ALL_VARIANTS) - 1
    assert points == sorted(points, reverse=True)


def test_differences_are_drawn_with_their_intervals(measured, drawn):
    found, figure = measured(FIG10, "one architecture"), drawn(FIG10, "one architecture")
    above, below = figure.axes
    assert above.get_title(loc="left") == "CNN"
    lines = {
        tuple(line.get_ydata().round(12)) for line in below.lines if len(line.get_xdata()) == 3
    }
    for variant in ("unfrozen", "ntk", "adam_star"):
        effects = [found.difference("cnn", variant, "frozen", w) for w in found.widths]
        assert tuple(round(effect.estimate, 12) for effect in effects) in lines
    assert len(below.collections) == 5 * 3
    assert "5 seeds" in said(figure)


def test_runs_that_diverged_and_rates_at_an_edge_are_said(drawn):
    figure = drawn(FIG10, "diverged, edges")
    words = said(figure)
    assert "× 2 runs diverged" in words
    assert "Not interior: NTK (SGD) in the MLP" in words
    assert "Frozen features in the RNN" in words
    crosses = [
        line
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() == "x" and len(line.get_xdata())
    ]
    assert len(crosses) == 2


def test_bars_that_reach_zero_do_not_stretch_a_logarithmic_axis(measured, drawn):
    case = "intervals beyond zero"
    found = measured(FIG10, case)
    cells = [found.loss("mlp", v, w) for v in found.variants for w in found.widths]
    assert min(cell.lower for cell in cells) < 0
    low, high = drawn(FIG10, case).axes[0].get_ylim()
    assert low > 0.4 * min(cell.estimate for cell in cells)
    assert high < 2.3 * max(cell.estimate for cell in cells)


def test_the_crossings_are_drawn_where_they_are(measured, drawn):
    figure = drawn(FIG11, "memory")
    (dots,) = (line for line in figure.axes[0].lines if line.get_linestyle() == ":")
    reached = [c for c in measured(FIG11, "memory").crossings("state") if math.isfinite(c.inputs)]
    assert list(dots.get_xdata()) == [crossing.inputs for crossing in reached]
    assert list(dots.get_ydata()) == [crossing.size for crossing in reached]
    assert "t = 3.00 H in what is kept" in said(figure)


def test_the_limits_stand_at_infinity_with_the_range_over_all_models(measured, drawn):
    found, axes = measured(FIG12, "full"), drawn(FIG12, "full").axes[0]
    named = {
        tick.get_text(): place
        for tick, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
    }
    infinity = named["∞"]
    assert infinity == max(named.values())
    assert "" not in named
    bars = [
        tuple(path.vertices[:, 1])
        for bars in axes.collections
        for path in bars.get_paths()
        if path.vertices[0, 0] > 0.8 * infinity
    ]
    for comparison in found.comparisons[:2]:
        limit = found.difference(*comparison)
        for interval in (limit.interval(0.95), limit.fitting_interval(0.95)):
            assert (interval.lower, interval.upper) in bars


def test_the_table_of_limits_has_every_loss_and_difference(measured):
    found = measured(FIG12, "full")
    table = build(found)
    assert list(table.raw["kind"]) == ["loss"] * 4 + ["difference"] * 4
    row = table.raw[table.raw["label"] == "ADAM* NTK − Unfrozen, 1/√H"].iloc[0]
    effect = found.difference(*found.comparisons[2]).effect("")
    interval = effect.interval(0.95)
    assert (row["limit"], row["all_lower"], row["all_upper"]) == (
        effect.estimate,
        interval.lower,
        interval.upper,
    )
    assert row["all_lower"] <= row["fitting_lower"] < row["fitting_upper"] <= row["all_upper"]
    assert "our reconstruction" in markdown(table)
    assert "reconstruction" in latex(table)


def test_a_table_of_too_few_widths_says_so(measured):
    table = build(measured(FIG12, "two widths"))
    assert set(table.shown["at ∞"]) == {"–"}
    assert "too little to judge" in table.caption
