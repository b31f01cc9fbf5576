"""Every figure and table by name, and the experiment whose measurements it is made from.

A figure's module is `infwidth.plots.<name>`, a table's `infwidth.analysis.tables.<name>`.
"""

FIGURES: dict[str, str] = {
    "fig1_loss_vs_width": "lm_width",
    "fig2_loss_curves": "lm_width",
    "fig3_learning_rate_sensitivity": "lm_width",
}

TABLES: dict[str, str] = {
    "table1_final_loss": "lm_width",
    "table2_gap_closed": "lm_width",
    "table3_hyperparameters": "lm_width",
    "table4_compute": "lm_width",
}


def figure_module(name: str) -> str:
    """The module that draws a figure."""
    return f"infwidth.plots.{name}"


def table_module(name: str) -> str:
    """The module that makes a table."""
    return f"infwidth.analysis.tables.{name}"
