# SPDX-License-Identifier: Apache-2.0
#
# One rule a table, named as the paper's artifact names it.


for _table, _experiment in TABLES.items():

    rule:
        """Makes this table from what its experiment measured."""
        name:
            _table
        input:
            MEASURED[_experiment],
        output:
            multiext(f"{LAYOUT.tables}/{_table}", ".csv", ".md", ".tex", ".json"),
        log:
            f"{LAYOUT.logs}/{_table}.log",
        conda:
            CONDA
        params:
            code=code_digest(table_code(_table)),
            # The command is put together when the job runs, after this loop has ended.
            measurements=LAYOUT.measurements(_experiment),
            table=_table,
        shell:
            f"infwidth table {{params.table}} --measurements {{params.measurements}} --out {LAYOUT.tables} 2> {{log}}"
