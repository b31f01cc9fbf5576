# SPDX-License-Identifier: Apache-2.0
"""A digest of the code that a result depends on: of what it says, wherever that stands.

Its unit is the definition: a function, a class or a constant at the head of a module. From those
that are asked for, every definition that one names is followed, in turn and across imports.
Comments, docstrings, layout, names of modules and definitions, where they lie and what nobody uses
change nothing, so that code can be moved without anything being computed anew.
"""

import ast
import hashlib
import os
import symtable
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

from infwidth.config.errors import UserError

_ROOT = Path(__file__).parent
_PACKAGE = _ROOT.name
_STARTED = "INFWIDTH_SOURCE"
"""Environment variable: when the newest source file had changed as the workflow, or else this
command, started; and the folder of the source."""

PROCESS = ("infwidth.pins.pin_numerics", "infwidth.pins.pin_cpu")
"""What every process does before it computes, and so part of the code of each number."""

_SETTINGS = "infwidth.config.section.Section"
"""The values of settings are in a run's key; of their classes, methods alone are code. But where
code itself makes such an object, the values that it leaves out count as well."""


_AT_A_DISTANCE = frozenset({"setattr", "delattr", "exec", "eval", "globals", "vars"})
"""Names by which a statement at the head of a module may change anything; calls of `jax.config`
count as well."""


class _Definition(NamedTuple):
    module: str
    statement: int
    made: bool = False
    """Of a class of settings: whether code makes objects of it."""


class _Use(NamedTuple):
    """What a name stands for: a definition, with the place of the name among those it binds."""

    definition: _Definition
    place: int


class _Outside(NamedTuple):
    """A name of another package."""

    name: str


class _Whole(NamedTuple):
    """A module itself."""

    module: str


class _Import(NamedTuple):
    """What an import binds a name to: a name of another module here, or None for all of it."""

    module: str
    name: str | None


_Target = _Use | _Outside | _Whole
_Bound = tuple[int, int] | _Import | _Outside


class _Module(NamedTuple):
    """Statements with their text, and what each name at the head of the module stands for."""

    statements: list[tuple[ast.stmt, str]]
    names: dict[str, list[_Bound]]


class _Normal(NamedTuple):
    """A definition without the names that it uses, and what these stand for, in their order."""

    text: str
    uses: tuple[tuple[_Target, ...], ...]


def code_digest(
    entries: Iterable[str],
    only: Mapping[str, Iterable[str]] | None = None,
    choices: Iterable[str] = (),
) -> str:
    """Digest of definitions and of all definitions of this package that they use, in turn.

    Not followed are objects that come in as arguments without a type that names their class, and
    what is looked up by a text; code that does so has to be asked for by itself.

    Args:
      entries: dotted names of definitions, such as "infwidth.training.execute.execute", or of
        modules, for all that a module defines under a public name.
      only: by dotted name of a table (a dictionary, key by key) the keys of the rows that count; of
        any other definition, or with no keys, nothing counts.
      choices: words that count, too.

    Returns:
      16 hexadecimal digits.

    Raises:
      UserError: a source file was edited after this command, or its workflow, had started.
    """
    rows = {
        use.definition: frozenset(keys)
        for name, keys in (only or {}).items()
        for use in _definitions(name)
    }
    numbers: dict[_Definition, int] = {}

    def number(target: _Target) -> str:
        if isinstance(target, _Outside):
            return target.name
        if isinstance(target, _Whole):
            return "|".join(map(number, _public(target.module)))
        # What makes digests changes them by itself, if it changes what they say.
        if target.definition.module == __name__ or rows.get(target.definition) == frozenset():
            return "-"
        return f"{numbers.setdefault(target.definition, len(numbers))}.{target.place}"

    lines = [*choices]
    for entry in entries:
        uses = _public(entry) if _exists(entry) else _definitions(entry)
        lines.append(" ".join(map(number, uses)))
    done = 0
    # Numbers are given in the order in which definitions are met, so that they hang on the code.
    while done < len(numbers):
        for definition in list(numbers)[done:]:
            normal = _normal(definition, rows.get(definition))
            used = (" ".join(map(number, targets)) for targets in normal.uses)
            lines.append("\n".join([normal.text, *used]))
            done += 1
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def remember_source() -> None:
    """Notes the state of the source, of which alone this process and its children make digests.

    What was edited since may not be what runs, or not what ran before: no digest is made of it. Nor
    is compiled code run that is older than its source, which Python would take by the time of the
    last edit, and a copy may have set that back: it is deleted, and compiled anew.
    """
    known, _, root = os.environ.get(_STARTED, "").partition(" ")
    if not known or root != str(_ROOT):
        changed = {path: _changed(path) for path in _ROOT.rglob("*.py")}
        for path, time in changed.items():
            compiled = Path(cache_from_source(str(path)))
            with suppress(OSError):
                if compiled.stat().st_mtime_ns < time:
                    compiled.unlink()
        os.environ[_STARTED] = f"{max(changed.values())} {_ROOT}"


def _definitions(name: str) -> list[_Use]:
    """What a dotted name stands for."""
    module, _, own = name.rpartition(".")
    uses = [use for use in _resolve(module, own) if isinstance(use, _Use)]
    if not uses:
        raise ValueError(f"{name}: no definition has this name")
    return uses


def _public(module: str) -> list[_Use]:
    """The definitions of a module under public names, in an order that hangs on what they say."""
    uses = [
        use
        for name in _module(module).names
        if not name.startswith("_")
        for use in _resolve(module, name)
        if isinstance(use, _Use) and use.definition.module == module
    ]
    return sorted(uses, key=lambda use: (_normal(use.definition, None).text, use.place))


def _resolve(module: str, name: str) -> tuple[_Target, ...]:
    """What a name of a module stands for; nothing for a built-in one."""
    targets: list[_Target] = []
    for bound in _module(module).names.get(name, ()):
        targets += _target(module, bound)
    return tuple(targets)


def _target(module: str, bound: _Bound) -> tuple[_Target, ...]:
    if isinstance(bound, _Outside):
        return (bound,)
    if not isinstance(bound, _Import):
        statement, place = bound
        return (_Use(_Definition(module, statement), place),)
    if bound.name is None:
        return (_Whole(bound.module),)
    submodule = f"{bound.module}.{bound.name}"
    found = _resolve(bound.module, bound.name)
    if not found and not _exists(submodule):
        raise ValueError(f"{module} imports {submodule}, which there is not")
    return found or (_Whole(submodule),)


@cache
def _module(name: str) -> _Module:
    source = _read(name)
    lines = source.split("\n")
    statements: list[tuple[ast.stmt, str]] = []
    names: dict[str, list[_Bound]] = {}
    later, heads = [], []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias, bound in _imported(node):
                names.setdefault(alias, []).append(bound)
            continue
        if _is_string(node) or _is_for_types(node):
            continue
        first = min(each.lineno for each in [node, *getattr(node, "decorator_list", ())])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        statements.append((node, text))
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            heads.append(node)
        binds = _binds(node, text)
        if not binds:
            later.append(len(statements) - 1)
        for place, own in enumerate(binds):
            names.setdefault(own, []).append((len(statements) - 1, place))
    imports = {own for own, bounds in names.items() if isinstance(bounds[0], _Import | _Outside)}
    for node in heads:
        if others := _changed_by(node, imports):
            raise _unclear(name, node, f"changes by `{min(others)}` what others use, too")
    for statement in later:
        # It changes what it names, as in f.defvjp(forward, backward), and so counts with that.
        node, text = statements[statement]
        used = _global_names(text)[0]
        changed = [
            bounds
            for own, bounds in names.items()
            if own in used and not isinstance(bounds[0], _Import | _Outside)
        ]
        for bounds in changed:
            bounds.append((statement, 0))
        if not changed:
            raise _unclear(name, node, "names no definition of this file")
    return _Module(statements, names)


def _is_for_types(node: ast.stmt) -> bool:
    """Whether it is `if TYPE_CHECKING: ...`, which does not run."""
    return (
        isinstance(node, ast.If)
        and not node.orelse
        and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    )


def _changed_by(node: ast.stmt, imports: set[str]) -> set[str]:
    """What a statement changes elsewhere: such as the import `a`, by `a.b = c`."""
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and each.id in _AT_A_DISTANCE:
            found.add(each.id)
        if isinstance(each, ast.Call) and ast.unparse(each.func).startswith("jax.config."):
            found.add("jax.config")
        if isinstance(each, ast.Attribute | ast.Subscript) and not isinstance(each.ctx, ast.Load):
            base: ast.expr = each
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            if isinstance(base, ast.Name) and base.id in imports:
                found.add(base.id)
    return found


def _unclear(module: str, node: ast.stmt, why: str) -> UserError:
    return UserError(
        f"{_source(module)}, line {node.lineno}: this statement {why}, so that no digest can say "
        "which numbers hang on it; put it into a function that what needs it calls"
    )


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, _Bound]]:
    """The names that an import binds, and what to."""
    source = getattr(node, "module", None)
    assert not getattr(node, "level", 0), "imports name their module in full"
    for alias in node.names:
        if alias.name == "*":
            raise UserError(
                f"from {source} import *: name what is imported, or no digest can tell what is used"
            )
        path = f"{source}.{alias.name}" if source else alias.name
        if path.split(".")[0] != _PACKAGE:
            first = alias.name if source or alias.asname else alias.name.split(".")[0]
            yield alias.asname or first, _Outside(path if source or alias.asname else first)
        elif source:
            yield alias.asname or alias.name, _Import(source, alias.name)
        else:
            assert alias.asname, f"import {path}: give it a name, as in `from … import …`"
            yield alias.asname, _Import(path, None)


def _binds(node: ast.stmt, text: str) -> list[str]:
    """The names that a statement at the head of a module gives a meaning to."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    symbols = symtable.symtable(text, "", "exec").get_symbols()
    return sorted(each.get_name() for each in symbols if each.is_assigned() or each.is_imported())


def _global_names(text: str) -> tuple[set[str], set[str]]:
    """The names that a statement takes from its module, and those that it binds within."""
    top = symtable.symtable(text, "", "exec")
    taken, own = set(), set()
    frontier = [top]
    while frontier:
        table = frontier.pop()
        frontier += table.get_children()
        for symbol in table.get_symbols():
            # The body of a class may read a name from its module before it binds it.
            if table is top or symbol.is_global() or table.get_type() == "class":
                taken.add(symbol.get_name())
            if table is not top and not symbol.is_global():
                own.add(symbol.get_name())
    return taken, own


@cache
def _normal(definition: _Definition, keys: frozenset[str] | None) -> _Normal:
    """A definition as it counts; of a table the rows of some keys alone."""
    module = definition.module
    _, text = _module(module).statements[definition.statement]
    # A tree of its own, since it is changed.
    (node,) = ast.parse(text).body
    within: dict[str, list[_Bound]] = {}
    for each in ast.walk(node) if "import" in text else ():
        if isinstance(each, ast.Import | ast.ImportFrom):
            for alias, bound in _imported(each):
                if isinstance(bound, _Import):
                    within.setdefault(alias, []).append(bound)
    taken, own = _global_names(text)
    meaning = {name: _resolve(module, name) for name in taken}
    for name, bounds in within.items():
        inner = tuple(target for bound in bounds for target in _target(module, bound))
        meaning[name] = (*inner, *meaning.get(name, ()))
    if definition.made:
        meaning = {name: _made(targets) for name, targets in meaning.items()}
        _drop_descriptions(node)
    elif isinstance(node, ast.ClassDef) and _is_settings(definition):
        node.body = [each for each in node.body if _is_method(each, meaning)]
    if keys is not None:
        _keep_rows(node, keys)
    writer = _Writer(meaning, own - within.keys())
    tree = writer.visit(node)
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        tree.name = ""
    else:
        # An import in it gives the module a name.
        for name in within:
            writer.number(meaning[name])
    return _Normal(ast.dump(tree), tuple(writer.uses))


class _Writer(ast.NodeTransformer):
    """Puts numbers in the place of names of the module, and drops imports and docstrings."""

    def __init__(self, meaning: Mapping[str, tuple[_Target, ...]], own: set[str]) -> None:
        self._meaning = meaning
        self._own = own
        self._called: set[ast.AST] = set()
        self._named: set[ast.AST] = set()
        self.uses: dict[tuple[_Target, ...], int] = {}

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A bare string that is a statement of its own documents, and does nothing.
            node.body = [each for each in node.body if not _is_string(each)]
        if isinstance(node, ast.arg | ast.FunctionDef | ast.AsyncFunctionDef):
            # A text in the type of an argument is a name that type checkers alone know.
            annotation = node.annotation if isinstance(node, ast.arg) else node.returns
            for each in ast.walk(annotation) if annotation else ():
                self._named.add(each)
                if isinstance(each, ast.Constant):
                    each.value = None
        if isinstance(node, ast.ClassDef | ast.AnnAssign):
            for head in node.bases if isinstance(node, ast.ClassDef) else [node.annotation]:
                self._named.update(ast.walk(head))
        return super().generic_visit(node)

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        return self._outside(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return self._outside(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self._called.add(node.func)
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        # Settings.model_validate(values) makes an object; Settings.method as a value does not.
        if node in self._named or node not in self._called:
            self._named.add(node.value)
        if isinstance(node.value, ast.Name) and node.value.id not in self._own:
            targets = self._meaning.get(node.value.id, ())
            if len(targets) == 1 and isinstance(targets[0], _Whole):
                named = _resolve(targets[0].module, node.attr)
                if named:
                    return ast.Name(self.number(self._meant(node, named)), node.ctx)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        targets = self._meaning.get(node.id, ())
        if targets:
            number = self.number(self._meant(node, targets))
            # Where it is another's name, too, it cannot be taken out.
            node.id = f"{node.id}={number}" if node.id in self._own else number
        return node

    def _meant(self, node: ast.AST, targets: tuple[_Target, ...]) -> tuple[_Target, ...]:
        """A class of settings as one of which objects are made, but where it is only named."""
        return targets if node in self._named else _made(targets)

    def number(self, targets: tuple[_Target, ...]) -> str:
        return f"§{self.uses.setdefault(targets, len(self.uses))}"

    @staticmethod
    def _outside(node: ast.Import | ast.ImportFrom) -> ast.AST | None:
        ours = any(isinstance(bound, _Import) for _, bound in _imported(node))
        return None if ours else node


def _made(targets: tuple[_Target, ...]) -> tuple[_Target, ...]:
    """The same, with classes of settings as those of which code makes objects."""
    return tuple(
        target._replace(definition=target.definition._replace(made=True))
        if isinstance(target, _Use) and _is_settings(target.definition)
        else target
        for target in targets
    )


def _drop_descriptions(node: ast.stmt) -> None:
    for each in ast.walk(node):
        if isinstance(each, ast.Call):
            each.keywords = [word for word in each.keywords if word.arg != "description"]


def _is_settings(definition: _Definition) -> bool:
    node, _ = _module(definition.module).statements[definition.statement]
    return definition[:2] == _definitions(_SETTINGS)[0].definition[:2] or any(
        isinstance(target, _Use) and _is_settings(target.definition)
        for base in getattr(node, "bases", ())
        if isinstance(base, ast.Name)
        for target in _resolve(definition.module, base.id)
    )


def _is_method(node: ast.stmt, meaning: Mapping[str, tuple[_Target, ...]]) -> bool:
    """Whether a statement in a class of settings is neither a field nor a check of its value."""
    return isinstance(node, ast.FunctionDef) and not any(
        isinstance(target, _Outside) and target.name.startswith("pydantic.")
        for decorator in node.decorator_list
        for each in ast.walk(decorator)
        if isinstance(each, ast.Name)
        for target in meaning.get(each.id, ())
    )


def _keep_rows(node: ast.stmt, keys: frozenset[str]) -> None:
    table = getattr(node, "value", None)
    assert isinstance(table, ast.Dict), "only of a dictionary can some rows be taken"
    rows = [
        (key, value)
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant) and key.value in keys
    ]
    missing = keys - {key.value for key, _ in rows}
    assert not missing, f"the table has no row {sorted(missing)}"
    table.keys, table.values = [key for key, _ in rows], [value for _, value in rows]


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _read(module: str) -> str:
    path = _source(module)
    text = path.read_text(encoding="utf-8")
    known, _, root = os.environ.get(_STARTED, "").partition(" ")
    if root == str(_ROOT) and _changed(path) > int(known):
        raise UserError(
            f"{path} was edited after this had started, so that nobody could say which code a "
            "number is from: start it again; what is done by then stays"
        )
    return text


def _changed(path: Path) -> int:
    # Unlike the time of the last edit, this one no tool sets back.
    return path.stat().st_ctime_ns


def _exists(module: str) -> bool:
    base = _base(module)
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def _source(module: str) -> Path:
    base = _base(module)
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _base(module: str) -> Path:
    return _ROOT.joinpath(*module.split(".")[1:])
