# SPDX-License-Identifier: Apache-2.0
#
# The claims, the tables and the circumstances as HTML, which only the report needs: `make report`.

COVERED_TABLES = covered(TABLES, SETTINGS.experiments)
PAGES = {"claims": "1. Claims"} | dict.fromkeys(COVERED_TABLES, "3. Tables")
PAGES["circumstances"] = "4. Settings, software, hardware"


rule pages:
    """Writes claims, tables and circumstances as HTML, for the report."""
    input:
        claims=rules.claims.output.page,
        tables=expand(f"{LAYOUT.tables}/{{table}}.md", table=COVERED_TABLES),
    output:
        [
            report(
                f"{LAYOUT.pages}/{name}.html",
                caption=f"../report/{'table' if name in TABLES else name}.rst",
                category=category,
                labels={"page": support.report_label(name)},
            )
            for name, category in PAGES.items()
        ],
    log:
        f"{LAYOUT.logs}/pages.log",
    conda:
        CONDA
    params:
        settings=slice_of("pages"),
        code=code_digest(["infwidth.cli.pages"]),
    shell:
        "infwidth pages --settings {params.settings:q} --claims {input.claims}"
        f" --tables {LAYOUT.tables} --out {LAYOUT.pages} 2> {{log}}"
