# The claims, the tables and the circumstances as HTML, which only the report needs: `make report`.

PAGES = {"claims": "1. Claims"} | dict.fromkeys(TABLES, "3. Tables")
PAGES["circumstances"] = "4. Settings, software, hardware"


def report_page(name, category):
    """A page as the report shows it."""
    caption = "table" if name in TABLES else name
    return report(
        f"{LAYOUT.pages}/{name}.html",
        caption=f"../report/{caption}.rst",
        category=category,
        labels={"page": report_label(name)},
    )


rule pages:
    input:
        rules.claims.output.page,
        expand(f"{LAYOUT.tables}/{{table}}.md", table=TABLES),
    output:
        [report_page(name, category) for name, category in PAGES.items()],
    log:
        f"{LAYOUT.logs}/pages.log",
    conda:
        CONDA
    params:
        settings=slice_of("pages"),
        code=code_digest(["infwidth.cli.pages", "infwidth.analysis.web_page"]),
    shell:
        "infwidth pages --settings {params.settings:q} --claims {input[0]}"
        f" --tables {LAYOUT.tables} --out {LAYOUT.pages} 2> {{log}}"
