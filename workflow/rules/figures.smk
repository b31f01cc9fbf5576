# SPDX-License-Identifier: Apache-2.0
#
# One rule a figure, named as the paper's artifact names it.


for _figure, _experiment in FIGURES.items():

    rule:
        """Draws this figure from what its experiment measured."""
        name:
            _figure
        input:
            MEASURED[_experiment],
        output:
            pdf=f"{LAYOUT.figures}/{_figure}.pdf",
            png=report(
                f"{LAYOUT.figures}/{_figure}.png",
                caption=f"../../src/infwidth/experiments/{_experiment}/{_figure}.rst",
                category="2. Figures",
                labels={"figure": support.report_label(_figure)},
            ),
            provenance=f"{LAYOUT.figures}/{_figure}.json",
        log:
            f"{LAYOUT.logs}/{_figure}.log",
        conda:
            CONDA
        params:
            code=code_digest(figure_code(_figure)),
            # The command is put together when the job runs, after this loop has ended.
            measurements=LAYOUT.measurements(_experiment),
            figure=_figure,
        shell:
            f"infwidth figure {{params.figure}} --measurements {{params.measurements}} --out {LAYOUT.figures} 2> {{log}}"
