# SPDX-License-Identifier: Apache-2.0
"""The one exception that a user is meant to see."""


class UserError(Exception):
    """Something the user can mend: one line that names the setting or file, and the mend."""


class Preempted(Exception):
    """The run was asked to stop, and has saved what it has; the text is shown as it stands."""
