# SPDX-License-Identifier: Apache-2.0
"""A table: raw numbers for machines, rounded ones for readers, as CSV, Markdown and LaTeX."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.atomic import write_atomically
from infwidth.provenance import SHA256, sha256
from infwidth.stats.statistics import Interval
from infwidth.stats.verdicts import Verdict
from infwidth.stored import write_json

MISSING = "–"

_SMALLEST_P = 1e-4

_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "±": r"$\pm$",
        "−": "$-$",
        "×": r"$\times$",
        "·": r"$\cdot$",
        "κ": r"$\kappa$",
        "η": r"$\eta$",
        "ω": r"$\omega$",
        "∞": r"$\infty$",
        "→": r"$\to$",
        "√": r"$\surd$",
        "†": r"$\dagger$",
        "–": "--",
        "½": r"$\tfrac12$",
        "…": r"\dots{}",
    }
)


@dataclass(frozen=True)
class Table:
    """One table in its two forms.

    Attributes:
        name: as in `TABLES`; the LaTeX label is `tab:<name>`.
        caption: plain text; says units, corpus and what is reconstructed.
        raw: long form, full precision; units in the column names.
        shown: wide form, every cell a string that is fit to read.
    """

    name: str
    caption: str
    raw: pd.DataFrame
    shown: pd.DataFrame

    @classmethod
    def of_rows(
        cls, name: str, caption: str, rows: Sequence[tuple[dict[str, Any], dict[str, str]]]
    ) -> "Table":
        """From each row as raw numbers and as it is shown, a dash where it shows nothing."""
        raw, shown = (pd.DataFrame([row[form] for row in rows]) for form in (0, 1))
        return cls(name, caption, raw, shown.fillna(MISSING))


def interval_columns(
    name: str, interval: Interval | None, unit: str = ""
) -> dict[str, float | None]:
    """Columns of a raw row: `name`, with its unit, `name_lower` and `name_upper`."""
    columns = {name + unit: "estimate", f"{name}_lower": "lower", f"{name}_upper": "upper"}
    return {column: getattr(interval, part, None) for column, part in columns.items()}


def comparison(found: Verdict, holds: str, fails: str) -> str:
    """What one comparison by itself shows; the words of verdicts are for claims."""
    words = {
        Verdict.REPRODUCED: holds,
        Verdict.CONTRADICTED: fails,
        Verdict.INCONCLUSIVE: "unresolved",
    }
    return words.get(found, str(found))


def write_table(
    table: Table, path_without_suffix: Path | str, provenance: dict[str, Any]
) -> list[Path]:
    """Writes `.csv` (raw), `.md` and `.tex` (shown), and `.json`, each whole; returns the paths.

    The last holds the provenance and the sha256 of the three; the folder is made if need be.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    base = Path(path_without_suffix)
    texts = {
        ".csv": table.raw.to_csv(index=False, lineterminator="\n"),
        ".md": markdown(table),
        ".tex": latex(table),
    }
    written = [base.parent / (base.name + suffix) for suffix in texts]
    for path, text in zip(written, texts.values(), strict=True):
        write_atomically(path, text)
    record = base.parent / f"{base.name}.json"
    digests = {path.name: sha256(path) for path in written}
    write_json(record, {"table": base.name, SHA256: digests} | provenance)
    return [*written, record]


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown, its caption above."""
    rows = [list(table.shown.columns), *table.shown.to_numpy().tolist()]
    cells = [[str(cell).replace("|", r"\|") for cell in row] for row in rows]
    sizes = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)) + " |"
        for row in cells
    ]
    rule = "|".join(
        "-" * (size + 1) + ":" if right else ":" + "-" * (size + 1)
        for size, right in zip(sizes, _right_aligned(table), strict=True)
    )
    return "\n".join([f"{table.caption}\n", lines[0], f"|{rule}|", *lines[1:]]) + "\n"


def latex(table: Table) -> str:
    """A `table` environment for booktabs and graphicx, to paste into a paper."""
    alignment = "".join("r" if right else "l" for right in _right_aligned(table))
    rows = [" & ".join(map(escape, row)) + r" \\" for row in table.shown.to_numpy().tolist()]
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"  \centering\small",
        f"  \\caption{{{escape(table.caption)}}}",
        f"  \\label{{tab:{table.name}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"  \\begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
        r"    \toprule",
        "    " + " & ".join(map(escape, table.shown.columns)) + r" \\",
        r"    \midrule",
        *(f"    {row}" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _right_aligned(table: Table) -> list[bool]:
    """Whether each column holds plain numbers only."""
    return [
        all(re.fullmatch(r"[+−]?[\d.,]+|–|", str(cell)) for cell in table.shown[column])
        for column in table.shown.columns
    ]


def escape(text: object) -> str:
    """Plain text as LaTeX."""
    return str(text).translate(_LATEX)


def number(value: float, decimals: int = 4) -> str:
    """A number with a true minus sign, or a dash where there is none."""
    if not math.isfinite(value):
        return MISSING
    return f"{value:.{decimals}f}".replace("-", "−")


def signed(value: float, decimals: int = 4) -> str:
    """Like `number`, with a plus sign too."""
    return number(value, decimals) if not value > 0 else f"+{number(value, decimals)}"


def plus_minus(interval: Interval, decimals: int = 4, sign: bool = False) -> str:
    """Estimate ± half width; the estimate alone where there is no interval."""
    shown = (signed if sign else number)(interval.estimate, decimals)
    if not math.isfinite(interval.half_width):
        return shown
    return f"{shown} ± {number(interval.half_width, decimals)}"


def rate(value: float | None) -> str:
    """A learning rate or κ with no more digits than it needs."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.4g}"


def count(value: float) -> str:
    """A whole number with thousands separated."""
    return MISSING if not math.isfinite(value) else f"{round(value):,}"


def p_value(p: float) -> str:
    """A p value with two digits; very small ones as a bound."""
    if math.isnan(p):
        return MISSING
    if 0 < p < _SMALLEST_P:
        return f"< {_SMALLEST_P:.4f}"
    return f"{p:.2g}"


def sentences(parts: Iterable[str]) -> str:
    """Joins the parts of a caption that are not empty."""
    return " ".join(part for part in parts if part)
