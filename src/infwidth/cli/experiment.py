# SPDX-License-Identifier: Apache-2.0
"""`infwidth measure|gather EXPERIMENT`: the parts of an experiment, and its tables.

The paper's experiment is measured in two steps, `infwidth tune` and `infwidth train`, since some
of its runs take the rate of another part.
"""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from infwidth.cli import study
from infwidth.cli.parser import one_of, settings_options
from infwidth.config.errors import UserError
from infwidth.config.load import parse_slice, restrict
from infwidth.config.settings import Settings
from infwidth.config.slices import SLICES
from infwidth.experiments.registry import BENCHES, IN_PARTS, REGISTRY, module
from infwidth.experiments.study import Job
from infwidth.layout import Layout
from infwidth.stored import write_json

if TYPE_CHECKING:
    from infwidth.experiments.parts import Parts

_A_BATCH = "training.microbatch_tokens"
GROWS_WITH = {
    **dict.fromkeys(("tune", "train"), ("lm_width.widths", _A_BATCH)),
    **{f"gather {name}": row.grows_with for name, row in REGISTRY.items() if row.grows_with},
}
"""By command: the settings that the memory of what it computes with JAX grows with."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    tune = commands.add_parser("tune", help="choose the rate of a variant at a width, of fig1")
    train = commands.add_parser("train", help="train a variant at a width, of fig1, all seeds")
    train.add_argument("--tuned", type=Path, nargs="+", help="what `infwidth tune` wrote")
    measure = commands.add_parser("measure", help="tune and train a part of an experiment")
    gather = commands.add_parser("gather", help="make the tables of an experiment")
    gathered = (*BENCHES, *IN_PARTS)
    measured = [name for name in gathered if name != "lm_width"]
    for action, known in ((measure, measured), (gather, gathered)):
        action.add_argument(
            "experiment",
            type=one_of(known, "experiment of these"),
            metavar="EXPERIMENT",
            help=", ".join(known),
        )
    for action in (tune, train):
        action.set_defaults(experiment="lm_width")
    for action in (tune, train, measure):
        action.add_argument(
            "--part",
            required=True,
            metavar="NAME",
            help="as in ntk-64 of the paper's experiment, adam_star of convergence or infinite_lm, "
            "bytes_500-ntk-256 of a study (variant, condition, width); or a job of several",
        )
        action.add_argument("--out", type=Path, help="file to write")
        action.set_defaults(parse=_parse)
    gather.add_argument("--parts", type=Path, nargs="+", help="what `measure` wrote of parts")
    gather.add_argument("--out", type=Path, help="folder of the measurements")
    for name, action, run in (
        ("tune", tune, study.tune),
        ("train", train, study.train),
        ("measure", measure, _measure),
        ("gather", gather, _gather),
    ):
        action.add_argument("--tokens", type=Path, help="of language models: folder of the tokens")
        action.add_argument("--runs", type=Path, help="folder of what is trained already")
        action.add_argument("--retrain", action="store_true", help="forget that, train anew")
        settings_options(action, name, run)


def _parse(args: argparse.Namespace) -> Settings | Job:
    if args.experiment in IN_PARTS:
        try:
            return Job.model_validate_json(args.settings)
        except ValidationError as error:
            first = error.errors()[0]["msg"]
            raise UserError(f"--settings is not the JSON of a job ({first})") from None
    return parse_slice(args.settings)


def _measure(args: argparse.Namespace, settings: Settings | Job, layout: Layout) -> None:
    if args.experiment in IN_PARTS:
        study.measure(args, settings, layout)
        return
    assert isinstance(settings, Settings), "those in parts alone are handed jobs"
    name = args.experiment
    settings = restrict(settings, SLICES[f"gather {name}"])
    if not REGISTRY[name].split:
        raise UserError(f"{name} has no parts: run `infwidth gather {name}`")
    part = one_of(import_module(module(name, "plan")).parts(settings), "part")(args.part)
    measuring, keeper = _set_up(args, layout, study.retrains(args))
    count = measuring.part(settings, part, keeper)
    write_json(args.out or layout.part(name, part), {"part": part, "runs": count})


def _gather(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    settings = restrict(settings, SLICES[f"gather {args.experiment}"])
    if args.experiment in IN_PARTS:
        study.gather(args, settings, layout)
        return
    row = REGISTRY[args.experiment]
    # Where there are parts, jobs of their own have trained them anew.
    retrain = args.retrain if row.split else study.retrains(args)
    measuring, keeper = _set_up(args, layout, retrain)

    import jax

    from infwidth.experiments.parts import write_measurements

    write_measurements(
        args.out or layout.measurements(args.experiment),
        measuring.tables(settings, keeper),
        settings.model_dump(mode="json")
        | study.origin(row.code, device=jax.devices()[0].device_kind),
    )


def _set_up(
    args: argparse.Namespace, layout: Layout, retrain: bool
) -> "tuple[Any, Callable[[Sequence[str]], Parts]]":
    """The module that measures, and what gives it the parts that are kept."""
    # JAX reads its environment when it is imported, so the process is set up first.
    from infwidth.training.devices import set_up

    platform = set_up(layout.results / "compile_cache")

    from infwidth.experiments.parts import Parts

    folder = args.runs or layout.results / args.experiment / "parts"
    return (
        import_module(module(args.experiment, "measure")),
        lambda modules: Parts(folder, modules, platform, retrain),
    )


def out_of_memory(arguments: argparse.Namespace) -> str:
    """Names the command, its part, and the settings that its memory grows with."""
    command = getattr(arguments, "command", "")
    words = [command, *(getattr(arguments, name, None) for name in ("experiment", "part"))]
    grows_with = GROWS_WITH.get(f"gather {getattr(arguments, 'experiment', '')}")
    grows_with = grows_with or GROWS_WITH.get(command)
    mend = f"lower {' or '.join(grows_with)}" if grows_with else "end what else takes it"
    return f"{' '.join(filter(None, words))}: out of memory; {mend}"
