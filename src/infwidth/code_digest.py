# SPDX-License-Identifier: Apache-2.0
"""A digest of the code that a result depends on; comments, docstrings and layout do not count."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent
_PACKAGE = _ROOT.name


def code_digest(modules: Iterable[str], choices: Iterable[str] = ()) -> str:
    """Digest of `modules` and of all modules of this package that they import, in turn.

    Only imports at the head of a module are followed: an import inside a function is how a module
    says that just some of its callers need the other one. `infwidth.config` is left out, since the
    values of settings stand in a run's key themselves.

    Args:
      modules: dotted names, such as "infwidth.training.loop".
      choices: what tables of `infwidth.config` decide for the code, which no setting says.

    Returns:
      16 hexadecimal digits.
    """
    closure: set[str] = set()
    frontier = list(modules)
    while frontier:
        module = frontier.pop()
        if module not in closure and not module.startswith(f"{_PACKAGE}.config"):
            closure.add(module)
            frontier.extend(_imports(module))
    lines = [f"{module} {_module_digest(module)}" for module in sorted(closure)]
    text = "\n".join([*lines, *choices])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _module_digest(module: str) -> str:
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A bare string that is a statement of its own documents, and does nothing.
            node.body = [statement for statement in node.body if not _is_string(statement)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@cache
def _imports(module: str) -> tuple[str, ...]:
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    return tuple(name for node in tree.body for name in _imported(node))


def _imported(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        yield from (name for name in names if name.split(".")[0] == _PACKAGE)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE:
        assert node.module is not None
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if _exists(submodule) else node.module


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _exists(module: str) -> bool:
    base = _base(module)
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def _source(module: str) -> Path:
    base = _base(module)
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _base(module: str) -> Path:
    return _ROOT.joinpath(*module.split(".")[1:])
