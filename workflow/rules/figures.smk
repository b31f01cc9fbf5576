# One rule a figure, named as the paper's artifact names it.


for _figure, _module in FIGURES.items():

    rule:
        name:
            _figure
        input:
            rules.collect.output,
        output:
            pdf=report(
                f"{LAYOUT.figures}/{_figure}.pdf",
                caption=f"../report/{_figure}.rst",
                category="Figures",
            ),
            png=f"{LAYOUT.figures}/{_figure}.png",
            provenance=f"{LAYOUT.figures}/{_figure}.json",
        params:
            code=code_digest([_module]),
            figure=_figure,
        log:
            f"{LAYOUT.logs}/{_figure}.log",
        conda:
            CONDA
        shell:
            "infwidth figure {params.figure} --measurements $(dirname {input[0]})"
            f" --out {LAYOUT.figures}/{{params.figure}} 2> {{log}}"
