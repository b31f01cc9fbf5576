# SPDX-License-Identifier: Apache-2.0
"""Figure 2: training loss over steps, and how far each variant is from the frozen one."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.curves import curve
from infwidth.drawing.layout import EndLabel, finish, new_figure
from infwidth.drawing.style import TEXT_WIDTH, look, paper_style
from infwidth.experiments.lm_width import notes
from infwidth.experiments.lm_width.measured import Measurements

BASELINE = "frozen"
"""The lower panels show differences from it, paired by seed, that is on the same batches."""

SMOOTHING = 0.015
"""Standard deviation of the smoothing, as a share of the run."""

SHOWN_FROM = 0.2
"""The loss axes are scaled to what comes after this share of the run."""

Curves = dict[str, pd.DataFrame]
"""By variant: a row a step, a column a seed, smoothed; NaN after a divergence."""


@paper_style()
def draw(measured: Measurements) -> Figure:
    """One column a width (the smallest and the largest); mean and range over seeds."""
    widths = sorted({measured.widths[0], measured.widths[-1]})
    curves = [_curves(measured, width) for width in widths]
    rows = [curves]
    if all(BASELINE in each for each in curves) and len(measured.variants) > 1:
        rows.append([_minus_baseline(each) for each in curves])
    figure = new_figure(TEXT_WIDTH, 1.3 + 1.75 * len(rows))
    grid = figure.subplots(len(rows), len(widths), sharex=True, sharey="row", squeeze=False)
    labels = []
    for panels, row in zip(grid, rows, strict=True):
        ends = [_panel(axes, each) for axes, each in zip(panels, row, strict=True)][-1]
        labels.append(
            [
                EndLabel(end, notes.label(measured, name), look(name).ink)
                for name, end in ends.items()
            ]
        )
        _loss_axis(panels[0], row)
    last = int(measured.reported["steps"].max())
    for axes, each in zip(grid[0], curves, strict=True):
        _crosses(axes, each, last)
    for axes, width in zip(grid[0], widths, strict=True):
        axes.set_title(f"$H$ = {width:,}", loc="left", pad=3)
    for axes in grid[-1]:
        axes.set_xlabel("training step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.set_xlim(0, 1.02 * last)
    grid[0, 0].set_ylabel("training loss\n(nats per token)")
    if len(rows) == 2:
        grid[1, 0].set_ylabel(f"minus {ALL_VARIANTS[BASELINE].label.lower()}\n(nats per token)")
    figure.align_ylabels()
    beside = {panels[-1]: wanted for panels, wanted in zip(grid, labels, strict=True)}
    note = _print(measured, len(rows) == 2)
    finish(figure, note, beside, column_gap=0.14, row_gap=0.2)
    return figure


def _curves(measured: Measurements, width: int) -> Curves:
    """Smoothed training loss of every reported run at a width."""
    by_key = dict(iter(measured.rows("curves").groupby("key")))
    found: Curves = {}
    for variant in measured.variants:
        runs = {}
        for row in measured.cell(variant, width).itertuples():
            rows = by_key.get(row.key)
            rows = None if rows is None else rows[np.isfinite(rows["loss"])].sort_values("step")
            if rows is not None and len(rows):
                loss = smooth(rows["step"], rows["loss"], SMOOTHING * int(row.steps))
                runs[int(row.seed)] = pd.Series(loss, index=rows["step"].to_numpy())
        if runs:
            found[variant] = pd.DataFrame(runs).sort_index()
    return found


def smooth(steps: ArrayLike, values: ArrayLike, width: float) -> NDArray[np.float64]:
    """Gaussian smoothing without lag and without a bend at the ends (local linear regression).

    At each step a straight line is fitted by weighted least squares and read off there, so that a
    straight curve stays as it is up to its ends. Steps ascend, evenly spaced or not. `width` is the
    standard deviation of the weights, in steps; at least half the typical spacing is used, which
    leaves values that are that far apart nearly as they are.
    """
    step_T = np.asarray(steps, dtype=np.float64)
    value_T = np.asarray(values, dtype=np.float64)
    if len(step_T) < 3:
        return value_T
    width = max(width, float(np.median(np.diff(step_T))) / 2)
    offset_TxT = (step_T[None, :] - step_T[:, None]) / width
    weight_TxT = np.exp(-0.5 * offset_TxT**2)
    s0_T, s1_T, s2_T = ((weight_TxT * offset_TxT**power).sum(axis=1) for power in range(3))
    line_TxT = weight_TxT * (s2_T[:, None] - s1_T[:, None] * offset_TxT)
    return line_TxT @ value_T / (s0_T * s2_T - s1_T**2)


def _minus_baseline(curves: Curves) -> Curves:
    """Each variant's curve less the baseline's of the same seed, the baseline itself left out."""
    base = curves[BASELINE]
    differences = {name: table - base for name, table in curves.items() if name != BASELINE}
    # Seeds or steps that only one of the two has leave nothing to compare.
    kept = {name: t.dropna(how="all").dropna(axis=1, how="all") for name, t in differences.items()}
    zero = base * 0.0
    return {BASELINE: zero} | {name: table for name, table in kept.items() if table.size}


def _panel(axes: Axes, curves: Curves) -> dict[str, float]:
    """Draws mean and range over the seeds that got furthest; returns where each variant ends."""
    ends = {}
    for place, (variant, table) in enumerate(curves.items()):
        style = look(variant)
        shown = _furthest(table)
        step_T, mean_T = shown.index.to_numpy(), shown.mean(axis=1).to_numpy()
        low_T, high_T = shown.min(axis=1).to_numpy(), shown.max(axis=1).to_numpy()
        axes.fill_between(step_T, low_T, high_T, color=style.color, alpha=0.16, linewidth=0)
        every = max(len(step_T) // 5, 1)
        curve(
            axes,
            step_T,
            mean_T,
            style,
            linewidth=1.0,
            markersize=3.0,
            markevery=(every * place // len(curves), every),
            markeredgewidth=0.3,
        )
        ends[variant] = float(mean_T[-1])
    return ends


def _furthest(table: pd.DataFrame) -> pd.DataFrame:
    """The seeds that got furthest, where all of them were logged."""
    return table.loc[:, table.iloc[-1].notna()].dropna()


def _loss_axis(axes: Axes, row: list[Curves]) -> None:
    """Limits that fit the means and ranges of all panels of a row after the start."""
    last = max((table.index[-1] for curves in row for table in curves.values()), default=0)
    shown = [_furthest(table) for curves in row for table in curves.values()]
    late = [table[table.index >= SHOWN_FROM * last].to_numpy().ravel() for table in shown]
    values = np.concatenate(late) if late else np.zeros(0)
    if values.size:
        pad = max(0.06 * np.ptp(values), 1e-3)
        axes.set_ylim(values.min() - pad, values.max() + pad)


def _crosses(axes: Axes, curves: Curves, last: int) -> None:
    """A cross where a run ends before the last step: it diverged there."""
    low, high = axes.get_ylim()
    for variant, table in curves.items():
        for seed in table:
            run = table[seed].dropna()
            if run.index[-1] < last:
                y = min(max(float(run.iloc[-1]), low), high)
                axes.plot(run.index[-1], y, marker="x", color=look(variant).color, clip_on=False)


def _print(measured: Measurements, paired: bool) -> list[str]:
    seeds = len(measured.seeds)
    over = f"Mean and range over {seeds} seeds" if seeds > 1 else "One seed"
    return [
        f"{over}; smoothed over {SMOOTHING:.1%} of the run (Gaussian, one standard deviation).",
        "Below: differences paired by seed, on the same batches." if paired else "",
        notes.divergence_note(measured),
        *notes.figure_notes(measured),
    ]
