# SPDX-License-Identifier: Apache-2.0
"""Formulas become MathML when the site is built: no script and no font is fetched to show them."""

import html
import re

from latex2mathml.converter import convert
from markdown import Extension
from markdown.preprocessors import Preprocessor
from mkdocs.exceptions import PluginError

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
TAG = re.compile(r"\\tag\{(.*?)\}")
# MathML Core knows these letters as characters, not as a style.
DOUBLE_STRUCK = {"E": "𝔼", "R": "ℝ"}


def on_config(config):
    """```math is a formula of its own, and $...$ one in a line, as on GitHub."""
    fence = {"name": "math", "class": "formula", "format": displayed}
    config["mdx_configs"].setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]
    config["mdx_configs"]["pymdownx.arithmatex"] = {"generic": True}
    config["markdown_extensions"].append(DocstringFormulas())
    return config


class DocstringFormulas(Extension):
    """`.. math::` in a docstring, as optax writes it, is a formula of its own, too."""

    def extendMarkdown(self, md):
        """Comes before the extension that knows of fences."""
        md.preprocessors.register(_Directive(md), "docstring_formulas", 40)


class _Directive(Preprocessor):
    def run(self, lines):
        found = []
        inside = False
        for line in lines:
            if inside and line and not line.startswith(" "):
                found += ["```", ""]
                inside = False
            if line.strip() == ".. math::":
                found.append("```math")
                inside = True
            else:
                found.append(line)
        return [*found, "```"] if inside else found


def on_page_content(content, page, config, files):
    """Replaces the formulas in lines."""
    return INLINE.sub(lambda match: mathml(html.unescape(match[1]), "inline"), content)


def displayed(source, language, css_class, options, md, **_):
    """A formula of its own, with its number."""
    number = TAG.search(source)
    formula = mathml(TAG.sub("", source), "block")
    label = f'<span class="number">({number[1]})</span>' if number else ""
    anchor = f' id="equation-{number[1]}"' if number else ""
    return f'<div class="{css_class}"{anchor}>{formula}{label}</div>'


def mathml(source: str, display: str) -> str:
    """One formula; a command that is not understood ends the build."""
    converted = convert(source.strip(), display=display)
    for letter, character in DOUBLE_STRUCK.items():
        styled = f'<mi mathvariant="double-struck">{letter}</mi>'
        converted = converted.replace(styled, f"<mi>{character}</mi>")
    if "\\" in converted or re.search(r'mathvariant="(?!normal)', converted):
        raise PluginError(f"a formula cannot be shown: {source}")
    return converted
