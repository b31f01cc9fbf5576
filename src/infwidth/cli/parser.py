# SPDX-License-Identifier: Apache-2.0
"""The parsers of the command line: each says what its command does, and every default."""

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from infwidth.config.errors import UserError

RETRAIN = "INFWIDTH_RETRAIN"
"""Environment variable: 1 where the workflow wants its runs trained anew."""


class _Help(argparse.HelpFormatter):
    """Adds defaults to what options say; keeps the lines of a description that has some."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if not text or "default" in text or action.required:
            return text
        if action.type is Path and action.default is None:
            return f"{text} (default: where the configuration has it)"
        if action.nargs == 0 or action.default is None:
            return text
        return f"{text} (default: %(default)s)"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


class _Commands(argparse._SubParsersAction):
    """Describes a command by its line in the list; hyphens stand for underscores in its name."""

    def add_parser(  # type: ignore[override]  # a command without help has no place here
        self, name: str, *, help: str, **options: Any
    ) -> argparse.ArgumentParser:
        hyphened = name.replace("_", "-")
        options.setdefault("aliases", [hyphened] if hyphened != name else [])
        options.setdefault("description", f"{help[0].upper()}{help[1:]}.")
        return super().add_parser(name, help=help, **options)


class Parser(argparse.ArgumentParser):
    """A parser, or that of a command in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, **options)
        self.register("action", "parsers", _Commands)

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse says nothing where it cannot write.
        print(message, end="", file=file, flush=True)


def one_of(names: Collection[str], kind: str) -> Callable[[str], str]:
    """The type of an argument that is a name, or the beginning of one alone; "-" stands for "_"."""

    def parse(text: str) -> str:
        wanted = text.replace("-", "_")
        found = [name for name in names if name in (text, wanted)]
        # fig1 is fig1_loss_vs_width, and not fig10_architectures.
        for start in (f"{wanted}_", wanted):
            found = found or [name for name in names if name.startswith(start)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(
                f"'{text}' may be {' or '.join(found)}: write more of the {kind}'s name"
            )
        raise UserError(f"no {kind} is called '{text}'; there are {', '.join(names)}")

    return parse


def settings_options(
    parser: argparse.ArgumentParser, command: str, run: Callable[..., int | None]
) -> None:
    """Adds where a command takes its settings from, and what it runs.

    Its name is as in `infwidth.config.slices.SLICES`.
    """
    parser.set_defaults(command=command, run=run)
    group = parser.add_argument_group(
        "settings", "one value after each option; give an option again for one more"
    )
    # Snakemake takes several values after one option, which would swallow a target that follows.
    group.add_argument(
        "--configfile",
        action="extend",
        type=_files,
        metavar="FILE",
        help="overlay on config/config.yaml, such as config/quick.yaml (default: none)",
    )
    group.add_argument(
        "--config",
        action="append",
        metavar="KEY=VALUE",
        help="override, such as 'training={steps: 2000}' (default: none)",
    )
    group.add_argument("--settings", metavar="JSON", help=argparse.SUPPRESS)


def _files(text: str) -> list[str]:
    """A file's name; or several, as `make` hands them over."""
    return [text] if Path(text).exists() else text.split() or [text]
