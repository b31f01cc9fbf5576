# SPDX-License-Identifier: Apache-2.0
"""Docstrings are written to be read in Python; here they are made to read well as Markdown, too."""

import re

from griffe import Alias, Extension

STAR_OF_A_NAME = re.compile(r"(?<=\w)\*(?![\w*])")


class Docstrings(Extension):
    """Keeps the star of ADAM*, and the functions that are called as their modules are."""

    def on_object(self, *, obj, **_):
        """A star at the end of a name begins no emphasis."""
        if obj.docstring:
            obj.docstring.value = STAR_OF_A_NAME.sub(r"\*", obj.docstring.value)

    def on_package(self, *, pkg, **_):
        """Puts in a module's place what its package exports by the same name, as Python does."""
        for package in (pkg, *pkg.modules.values()):
            named = [name for name in package.exports or () if name in package.modules]
            if named:
                # Some are found by way of the modules that are hidden from here on.
                for member in package.members.values():
                    if member.is_alias:
                        member.resolve_target()
            for name in named:
                package.set_member(name, Alias(name, package[name][name], parent=package))
