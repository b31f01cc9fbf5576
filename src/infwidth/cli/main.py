# SPDX-License-Identifier: Apache-2.0
"""The `infwidth` command: arguments in, one call, exit status out."""

import argparse
import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from infwidth import __version__
from infwidth.cli import (
    archives,
    compare,
    config,
    data,
    doctor,
    draw,
    experiment,
    pages,
    plan,
    publish,
    reproduce,
)
from infwidth.cli.experiment import out_of_memory
from infwidth.cli.parent import end_with_workflow
from infwidth.cli.parser import Parser
from infwidth.config.errors import Preempted, UserError
from infwidth.config.load import parse_slice, read_config, restrict, validate
from infwidth.config.settings import Settings
from infwidth.config.slices import SLICES
from infwidth.layout import Layout
from infwidth.training.processes import shares_a_run

_CANNOT_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
_OUTPUT_CLOSED = 128 + signal.SIGPIPE
_TO_BE_CONTINUED = 128 + signal.SIGTERM
_INTERRUPTED = 128 + signal.SIGINT
_LONGEST_ERROR = 200
_START_ALL = (
    "if another process of this run has ended, start all of them again: they go on from the last "
    "checkpoint"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits with a status.

    0 done; 1 a defect, or a check that found a difference; 2 a mistake to mend; 130 interrupted;
    141 if nobody reads the output any more, as in `infwidth data show | head`; 143 if SIGTERM came
    while a run trained, which was saved and is to be continued.
    """
    logging.basicConfig(format="infwidth: %(message)s")
    logging.getLogger("infwidth").setLevel(logging.INFO)
    # Orbax logs what it raises, too, and asyncio what failed beside it.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        words = sys.argv[1:] if argv is None else argv
        arguments = _parser().parse_args(words or ["--help"])
        end_with_workflow()
        status = arguments.run(arguments, *_settings(arguments))
        # Here, and not when Python ends, a reader that has gone is no surprise.
        print(end="", flush=True)
        sys.exit(status)
    except UserError as error:
        _leave(_fail(str(error), 2))
    except Preempted as stopped:
        # All that share a run stop at the same step, and so end together.
        sys.exit(_fail(f"{stopped}; run the same command again to go on", _TO_BE_CONTINUED))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(_OUTPUT_CLOSED)
    except RuntimeError as error:
        # JAX's own error, which is not imported where JAX is not used.
        if "RESOURCE_EXHAUSTED" in str(error):
            _leave(_fail(out_of_memory(arguments), 2))
        if shares_a_run() and type(error).__name__ == "JaxRuntimeError":
            _leave(_fail(f"{_in_a_line(error)}; {_START_ALL}", 1))
        _fail_as_a_defect()
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            _fail_as_a_defect()
        place = error.filename or "the output"
        mend = "mend that and run the same command again"
        _leave(_fail(f"{place}: {error.strerror}; {mend}", 2))
    except KeyboardInterrupt:
        _leave(_fail("interrupted; run the same command again to go on", _INTERRUPTED))
    except Exception:
        _fail_as_a_defect()


def _leave(status: int) -> NoReturn:
    if shares_a_run() or status == _INTERRUPTED:
        # JAX would wait for what it still computes, or for the other processes, which are gone or
        # wait for this one's part of a sum.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _fail_as_a_defect() -> NoReturn:
    """Ends with the traceback of the error that is being handled."""
    if shares_a_run():
        traceback.print_exc()
        _leave(1)
    raise


def _in_a_line(error: RuntimeError) -> str:
    return " ".join(str(error).split())[:_LONGEST_ERROR]


def _fail(text: str, status: int) -> int:
    # At once, since other threads may print, too.
    sys.stderr.write(f"infwidth: {text}\n")
    return status


def _parser() -> Parser:
    parser = Parser(
        prog="infwidth",
        description="Infinite-width models and ADAM*: data, training, tables and figures.",
    )
    parser.add_argument(
        "--version", action="version", version=__version__, help="say which version this is"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    others = (config, doctor, reproduce, publish, compare, archives)
    for module in (data, experiment, draw, pages, plan, *others):
        module.add_parser(commands)
    return parser


def _settings(arguments: argparse.Namespace) -> tuple[Settings, Layout]:
    """The settings that the command may read, and the paths of the configuration."""
    if getattr(arguments, "settings", None) is not None:
        parse = getattr(arguments, "parse", lambda given: parse_slice(given.settings))
        given = parse(arguments)
        # A rule names the paths that it writes.
        return given, Layout(vars(given).get("name", "default"))
    config = read_config(
        getattr(arguments, "configfile", None) or (), getattr(arguments, "config", None) or ()
    )
    settings = validate(config)
    paths = SLICES.get(arguments.command)
    limited = settings if paths is None else restrict(settings, paths)
    return limited, Layout(settings.name)
