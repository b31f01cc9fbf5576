# SPDX-License-Identifier: Apache-2.0
"""docs/figures.md, and the table of docs/artifact_evaluation.md: how each figure is made.

Both are written from the catalogue, the slices of the settings and the rules of the claims.
"""

import re
from pathlib import Path

from infwidth.catalogue import FIGURES, LONG_TIER, TABLES, picture_module, reader
from infwidth.claims.rules import labels
from infwidth.claims.schema import Claim, Claims
from infwidth.config.slices import SLICES
from infwidth.experiments.registry import REGISTRY
from infwidth.layout import LONG, PUBLISHED, Layout

START, END = "<!-- claims: by `infwidth config reference` -->", "<!-- end -->"

QUESTIONS = {
    "fig2_loss_curves": "How do the losses fall during training?",
    "fig3_learning_rate_sensitivity": "What does another rate of the readout do, by width?",
    "table3_hyperparameters": "Which rates were chosen, from what, and how sure is the choice?",
    "table4_compute": "What does each variant cost?",
    "claims": "What do all experiments together say on each claim?",
} | {name: row.question for name, row in REGISTRY.items()}

CORE_MINUTES = {name: row.core_minutes for name, row in REGISTRY.items() if row.core_minutes}
CORE_MINUTES["claims"] = sum(CORE_MINUTES.values())
"""The claims need all the others: the durations that Snakemake recorded of their jobs, one core
each; of `lm_width` the recorded times of its runs."""

_SHARED = {"name", "statistics"}
_LONG = " --configfile config/long.yaml"

_HEAD = """# How each figure and table is made

From question to picture, one section each. This page is written by `infwidth config reference` from
the catalogue (`src/infwidth/catalogue.py`), the settings that each command reads and
`config/claims.yaml`; a test keeps it in step.

Two commands make any of them, in an environment (`make env`, then `. .venv/bin/activate`):

- *from the published measurements*, in seconds and without training: `infwidth figure`, `table`;
- *anew*, with all that it needs and that is not there yet: `snakemake --cores all` and its name.

Times are core-minutes of the default configuration, training included, as measured in a
run of it on a slow and busy machine. Settings are those of [configuration](configuration.md).
"""


def figures_page(claims: Claims) -> str:
    """The page of all figures and tables, in Markdown."""
    parts = [_HEAD]
    for title, names in (("Figures", FIGURES), ("Tables", TABLES)):
        parts.append(f"\n## {title}\n")
        parts += [_section(name, experiment, claims) for name, experiment in names.items()]
    return "".join(parts)


def artifact_page(page: str, claims: Claims) -> str:
    """The page with its table of claims written anew, between the two comments."""
    head = "| no. | claim or question | figure, table | anew, by | core-minutes | rule |\n"
    rows = "".join(_claim_row(claim, label) for claim, label in _labelled(claims))
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{head}|---|---|---|---|---|---|\n{rows}{END}{after}"


def _section(name: str, experiment: str, claims: Claims) -> str:
    kind = "figure" if name in FIGURES else "table"
    module = picture_module(name)
    is_long = experiment in LONG_TIER
    tier, options = (PUBLISHED / LONG, _LONG) if is_long else (PUBLISHED, "")
    published = tier if experiment == "claims" else tier / "measurements" / experiment
    measured = Layout(LONG if is_long else "default").measurements(experiment)
    shown = tier / f"{kind}s/{name}.{'png' if kind == 'figure' else 'md'}"
    decides = [label for claim, label in _labelled(claims) if name in (claim.figure, claim.table)]
    settings = [f"[{part}](configuration.md#{part})" for part in _settings(experiment)]
    rows = {
        "question": QUESTIONS.get(name) or QUESTIONS[experiment],
        "claims": ", ".join(decides) or "none",
        "from what is published": f"`infwidth {kind} {name} --measurements {published} --out DIR`",
        "anew": f"`snakemake --cores all {name}{options}`",
        "time": f"{_core_minutes(experiment)}, of which the drawing is seconds",
        "measurements": f"`{measured}/`; published: [{published}](../{published})",
        "settings": ", ".join(settings),
        "script": ", ".join(_link(each) for each in (module, reader(experiment))),
    }
    if not shown.exists():  # of a study that has not run to its end
        del rows["from what is published"]
        rows["measurements"] = f"`{measured}/`; none is published yet"
    picture = f"[{name}](../{shown})" if shown.exists() else "Not published yet."
    if kind == "figure":
        # Of Snakemake's report; what is too long for a figure's small print stands there.
        beside = Path("src", *module.split(".")).with_suffix(".rst")
        caption = beside.read_text(encoding="utf-8").strip()
        picture = f"{'!' * shown.exists()}{picture}\n\n{caption}"
    table = "".join(f"| {key} | {value} |\n" for key, value in rows.items())
    return f"\n### {name}\n\n{picture}\n\n| | |\n|---|---|\n{table}"


def _settings(experiment: str) -> list[str]:
    read = SLICES[f"gather {experiment}" if experiment in REGISTRY else experiment]
    paths = [path.partition(".")[0] for path in read]
    return [part for part in dict.fromkeys(paths) if part not in _SHARED] + ["statistics"]


def _core_minutes(experiment: str) -> str:
    """Of a study in words: the file of its configuration has the estimate."""
    return "hours" if experiment in LONG_TIER else f"{CORE_MINUTES[experiment]} core-minutes"


def _link(module: str) -> str:
    path = f"src/{module.replace('.', '/')}.py"
    return f"[{path}](../{path})"


def _labelled(claims: Claims) -> list[tuple[Claim, str]]:
    label_of = labels(claims)
    return [(claim, label_of[claim.id]) for claim in claims.claims]


def _claim_row(claim: Claim, label: str) -> str:
    pictures = [name for name in (claim.figure, claim.table) if name]
    links = (
        ", ".join(f"[{_short(name)}](figures.md#{name})" for name in pictures)
        or "the page of claims"
    )
    target = pictures[0] if pictures else "claims"
    if claim.experiment in LONG_TIER:
        target = claim.experiment + _LONG
    command = f"`snakemake --cores all {target}`"
    statement = claim.statement.replace("*", "\\*").replace("|", "\\|")
    minutes = _core_minutes(claim.experiment).removesuffix(" core-minutes")
    cells = (label, statement, links, command, minutes, _rule(claim))
    return "| " + " | ".join(cells) + " |\n"


def _short(name: str) -> str:
    found = re.fullmatch(r"(fig|table)(\d+)_.*", name)
    assert found is not None
    return f"{found[1]} {found[2]}"


def _rule(claim: Claim) -> str:
    rule, unit = claim.rule, f" {claim.unit}" if claim.unit else ""
    if rule.kind == "equivalent":
        words = f"within ±{_bound(rule.within)}{unit} of {_bound(rule.to)}"
    else:
        words = f"{rule.kind} than {_bound(rule.than)}{unit}"
    scope = (
        claim.scope.replace("_", " ") if isinstance(claim.scope, str) else " and ".join(claim.scope)
    )
    return f"{words}; {scope}"


def _bound(bound: float | str) -> str:
    return f"`{bound}`" if isinstance(bound, str) else f"{bound:g}".replace("-", "−")


def pages(docs: Path, claims: Claims) -> dict[Path, str]:
    """Both pages, by file, as they are to be."""
    artifact = docs / "artifact_evaluation.md"
    return {
        docs / "figures.md": figures_page(claims),
        artifact: artifact_page(artifact.read_text(encoding="utf-8"), claims),
    }
