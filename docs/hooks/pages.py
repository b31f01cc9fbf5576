# SPDX-License-Identifier: Apache-2.0
"""The README is the home page, and what a page links to outside of docs/ comes along.

A Markdown file becomes a page of the site, any other file a copy that a browser shows; a link to a
folder leads to its page if it has one, and is plain text otherwise. So the pages are written with
links that hold in the repository, and the site needs nothing but itself. A notebook is a page, too.
"""

import json
import re
from pathlib import Path
from posixpath import dirname, normpath, relpath

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[2]
HOME = "README.md"
PAGES_OF_FOLDERS = {
    f"src/infwidth/{name}": f"docs/api/{name}.md" for name in ("optim", "kernels", "infinite")
}
IMAGES = {".png", ".svg"}
# Code is left as it is; what is not code may hold [text](target).
CODE_OR_LINK = re.compile(r"(```.*?```|`[^`\n]+`(?!\]))|\[([^\[\]]*)\]\(([^()\s]+)\)", re.DOTALL)


def address(path: str) -> str:
    """Where a file of the repository stands among the site's sources."""
    if path == HOME:
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/").replace(".ipynb", ".md")
    suffix = Path(path).suffix
    return f"files/{path}" if suffix == ".md" or suffix in IMAGES else f"files/{path}.txt"


def destination(target: str, page: str) -> str | None:
    """The file that a link on a page of the repository leads to; None for a folder without one."""
    path = normpath(f"{dirname(page)}/{target}" if dirname(page) else target)
    path = PAGES_OF_FOLDERS.get(path, path)
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
        return path if (ROOT / path).is_file() else None
    if not (ROOT / path).is_file():
        raise PluginError(f"{page}: a link leads to {target}, which is not there")
    return path


def relative(match: re.Match) -> bool:
    """Whether this is a link to a file, and not code, a heading or another site."""
    target = match[3]
    return target is not None and "://" not in target and not target.startswith("#")


def markdown_of(notebook: Path) -> str:
    """A notebook as Markdown: its texts, its code and what that printed."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            parts.append(f"```text\n{''.join(output['text'])}```")
    return "\n\n".join(parts) + "\n"


def on_config(config):
    """Headings get the anchors that they have on GitHub."""
    config["mdx_configs"].setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files, config):
    """Adds the home page, and all that is linked to."""
    pages = [f"docs/{file.src_uri}" for file in files if file.is_documentation_page()]
    notebooks = {
        f"docs/notebooks/{path.name}": markdown_of(path)
        for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
    }
    for path, text in notebooks.items():
        files.append(File.generated(config, address(path), content=text))
    pending = [*pages, *notebooks, HOME]
    seen = set(pending)
    while pending:
        path = pending.pop()
        if not path.startswith("docs/"):
            files.append(File.generated(config, address(path), abs_src_path=str(ROOT / path)))
        if not path.endswith(".md") and path not in notebooks:
            continue
        text = notebooks.get(path) or (ROOT / path).read_text(encoding="utf-8")
        for match in CODE_OR_LINK.finditer(text):
            found = relative(match) and destination(match[3].partition("#")[0], path)
            if found and found not in seen:
                seen.add(found)
                pending.append(found)
    config["extra"]["repository_paths"] = {address(path): path for path in seen}
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links of the repository into links of the site."""
    here = config["extra"]["repository_paths"][page.file.src_uri]

    def replaced(match: re.Match) -> str:
        if not relative(match):
            return match[0]
        target, hash_sign, anchor = match[3].partition("#")
        found = destination(target, here)
        if found is None:
            return match[2]
        there = relpath(address(found), dirname(page.file.src_uri) or ".")
        return f"[{match[2]}]({there}{hash_sign}{anchor})"

    return CODE_OR_LINK.sub(replaced, markdown)
