"""Every figure and table by name, and the module that makes it."""

FIGURES: dict[str, str] = {
    name: f"infwidth.plots.{name}"
    for name in (
        "fig1_loss_vs_width",
        "fig2_loss_curves",
        "fig3_learning_rate_sensitivity",
    )
}

TABLES: dict[str, str] = {
    name: f"infwidth.analysis.tables.{name}"
    for name in (
        "table1_final_loss",
        "table2_gap_closed",
        "table3_hyperparameters",
        "table4_compute",
    )
}
