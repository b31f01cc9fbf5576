# SPDX-License-Identifier: Apache-2.0
"""`infwidth config`: check a configuration, write the schemas and the pages made from it.

Of docs/figures.md and of the table of docs/artifact_evaluation.md, both on how each figure is made,
the sources are the catalogue, the slices of the settings and the rules of the claims.
"""

import argparse
from pathlib import Path

from infwidth.atomic import write_atomically
from infwidth.catalogue import FIGURES, LONG_TIER, TABLES, picture_module, reader
from infwidth.claims.schema import (
    Claim,
    Claims,
    claims_schema,
    labels,
    read_claims,
    rule_of,
    short,
)
from infwidth.cli.parser import settings_options
from infwidth.config.settings import Settings, json_schema, reference_page
from infwidth.config.slices import SLICES
from infwidth.experiments.registry import REGISTRY
from infwidth.layout import LONG, PUBLISHED, Layout

SCHEMA = Path("workflow/schemas/config.schema.json")
CLAIMS_SCHEMA = Path("workflow/schemas/claims.schema.json")
REFERENCE = Path("docs/configuration.md")

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


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser("config", help="check the configuration, write its reference")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="validate, and print the effective settings")
    settings_options(check, "config check", _check)
    write = actions.add_parser(
        "reference",
        help=f"write {SCHEMA}, {CLAIMS_SCHEMA.name} and the pages under docs/ made from them",
    )
    settings_options(write, "config reference", _write)


def _check(_: argparse.Namespace, settings: Settings, __: Layout) -> None:
    print(settings.model_dump_json(indent=2))


def _write(_: argparse.Namespace, __: Settings, ___: Layout) -> None:
    write_atomically(SCHEMA, json_schema())
    write_atomically(CLAIMS_SCHEMA, claims_schema())
    write_atomically(REFERENCE, reference_page())
    for path, text in pages(REFERENCE.parent, read_claims()).items():
        write_atomically(path, text)


def pages(docs: Path, claims: Claims) -> dict[Path, str]:
    """Both pages on figures, by file, as they are to be."""
    artifact = docs / "artifact_evaluation.md"
    return {
        docs / "figures.md": figures_page(claims),
        artifact: _artifact_page(artifact.read_text(encoding="utf-8"), claims),
    }


def figures_page(claims: Claims) -> str:
    """The page of all figures and tables, in Markdown."""
    parts = [_HEAD]
    for title, names in (("Figures", FIGURES), ("Tables", TABLES)):
        parts.append(f"\n## {title}\n")
        parts += [_section(name, experiment, claims) for name, experiment in names.items()]
    return "".join(parts)


def _artifact_page(page: str, claims: Claims) -> str:
    """The page with its table of claims written anew, between the two comments."""
    head = "| no. | claim or question | figure, table | anew, by | core-minutes | rule |\n"
    label_of = labels(claims)
    rows = "".join(_claim_row(claim, label_of[claim.id]) for claim in claims.claims)
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
    label_of = labels(claims)
    decides = [label_of[c.id] for c in claims.claims if name in (c.figure, c.table)]
    read = SLICES[f"gather {experiment}" if experiment in REGISTRY else experiment]
    sections = dict.fromkeys(path.partition(".")[0] for path in read)
    parts = [part for part in sections if part not in ("name", "statistics")] + ["statistics"]
    scripts = [f"src/{each.replace('.', '/')}.py" for each in (module, reader(experiment))]
    rows = {
        "question": QUESTIONS.get(name) or QUESTIONS[experiment],
        "claims": ", ".join(decides) or "none",
        "from what is published": f"`infwidth {kind} {name} --measurements {published} --out DIR`",
        "anew": f"`snakemake --cores all {name}{options}`",
        "time": f"{_core_minutes(experiment)}, of which the drawing is seconds",
        "measurements": f"`{measured}/`; published: [{published}](../{published})",
        "settings": ", ".join(f"[{part}](configuration.md#{part})" for part in parts),
        "script": ", ".join(f"[{path}](../{path})" for path in scripts),
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


def _core_minutes(experiment: str) -> str:
    """Of a study in words: the file of its configuration has the estimate."""
    return "hours" if experiment in LONG_TIER else f"{CORE_MINUTES[experiment]} core-minutes"


def _claim_row(claim: Claim, label: str) -> str:
    pictures = [name for name in (claim.figure, claim.table) if name]
    links = (
        ", ".join(f"[{short(name)}](figures.md#{name})" for name in pictures)
        or "the page of claims"
    )
    target = pictures[0] if pictures else "claims"
    if claim.experiment in LONG_TIER:
        target = claim.experiment + _LONG
    command = f"`snakemake --cores all {target}`"
    statement = claim.statement.replace("*", "\\*").replace("|", "\\|")
    minutes = _core_minutes(claim.experiment).removesuffix(" core-minutes")
    unit = f" {claim.unit}" if claim.unit else ""
    rule = rule_of(claim, claim.rule.model_dump(exclude={"kind"}), unit)
    scope = claim.scope
    places = scope.replace("_", " ") if isinstance(scope, str) else " and ".join(scope)
    cells = (label, statement, links, command, minutes, f"{rule}; {places}")
    return "| " + " | ".join(cells) + " |\n"
