"""The one exception that a user is meant to see."""


class UserError(Exception):
    """Something the user can mend: one line that names the setting or file, and the mend."""
