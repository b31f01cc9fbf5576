# SPDX-License-Identifier: Apache-2.0
"""The exceptions that a user is meant to see, and their words."""

AS_BEFORE = "with the --configfile or --config of before, if any"
"""Ends the advice to run a command again: without them it would act on the default."""


class UserError(Exception):
    """Something the user can mend: one line that names the setting or file, and the mend."""


class Preempted(Exception):
    """The run was asked to stop, and has saved what it has; the text is shown as it stands."""


def and_more(mistakes: int) -> str:
    """What follows the first of so many mistakes: " (and 2 more mistakes)", or nothing."""
    more = mistakes - 1
    return f" (and {more} more mistake{'s' if more > 1 else ''})" if more else ""
