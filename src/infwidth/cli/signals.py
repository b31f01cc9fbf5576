"""SIGTERM ends a command in good order, as Ctrl-C does."""

import signal


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""


def catch_sigterm() -> None:
    """Makes SIGTERM raise `Terminated` in the main thread."""
    signal.signal(signal.SIGTERM, _raise)


def _raise(*_: object) -> None:
    raise Terminated
