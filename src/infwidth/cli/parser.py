# SPDX-License-Identifier: Apache-2.0
"""The parsers of the command line: each says what its command does, and every default."""

import argparse
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from infwidth.config.errors import UserError


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
    """The type of an argument that is a name: its beginning will do where no other begins so.

    Hyphens stand for underscores.

    Raises:
      UserError: no name begins so, or several do.
    """

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
