"""Find plug-ins by entry point: formats, suites, trace sources, importers, models, commands, sections, modes.

Stored files also name plug-ins, and may be untrusted. So ``module:attribute`` is imported only if the user typed it,
which the command line declares with `allow`. A file that requests it causes an error of one sentence.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.errors import UsageError, escaped, unknown_name

if TYPE_CHECKING:
    import ast

Group = Literal[
    "formats", "suites", "traces", "importers", "models", "commands", "sections", "modes", "executors", "stores",
    "launchers", "measurements", "replays", "remotes", "containers", "unpackers", "layouts",
    "generators", "rules", "comparisons",
]  # fmt: skip
Name = tuple[Group, str]
"""Group and name of a plug-in that is given as ``module:attribute``."""

_KINDS = {
    "importers": "kind", "remotes": "remote format", "generators": "model", "launchers": "cluster",
}  # fmt: skip
"""Singular of a group's name in messages; for other groups, the name without its plural s."""
OPTION = {"formats": "--backend", "suites": "--suite", "importers": "--kind", "models": "--model"}

_allowed: set[Name] = set()
_warned: set[str] = set()


class Listed(NamedTuple):
    """A registered name, the loaded plug-in or None, and why it cannot be used and how to fix that, empty if usable."""

    name: str
    plugin: Any
    missing: str


@cache
def _points(group: Group) -> dict[str, EntryPoint]:
    found = {point.name: point for point in entry_points(group=f"harness.{group}")}
    if not found and group == "formats":  # every other group may be empty
        raise UsageError("The harness is not installed: run 'pip install -e .' in its folder first.")
    return found


def names(group: Group) -> list[str]:
    """List the registered names of a group."""
    return list(_points(group))


def allow(*plugins: Name) -> None:
    """Allow this process to import plug-ins by ``module:attribute``: only those that the user typed."""
    _allowed.update(plugins)


def allowed() -> tuple[Name, ...]:
    """Return the plug-ins that may be imported by ``module:attribute``, to pass them to worker processes."""
    return tuple(sorted(_allowed))


def forget_allowed() -> None:
    """Clear the allowed plug-ins: what was typed for one command does not apply to the next."""
    _allowed.clear()


def load(group: Group, name: str) -> Any:
    """Load one plug-in by its registered name, or by ``module:attribute`` if that was allowed.

    Raises
    ------
    UsageError
        If there is no such name, it was not allowed, or the plug-in cannot be imported.
    """
    kind = _KINDS.get(group, group.removesuffix("s"))
    name = registered_name(group, name)
    if (group, name) in _allowed:
        _look_here(name)
        value = name
    elif name in _points(group):
        value = _points(group)[name].value
    elif ":" in name and group in OPTION:
        raise UsageError(
            f"The {kind} {name!r} is registered by no installed package, and is imported only where it was typed: "
            f"if you trust it, add {OPTION[group]} {name} to the command."
        )
    else:
        raise unknown_name(kind, name, _points(group))
    return imported(f"The {kind} {name!r}", value)


def of_format(group: Group, kind: type) -> Any:
    """Return the plug-in registered by the name of a format's class, or of a base class; None if there is none."""
    for base in kind.__mro__:
        if (name := vars(base).get("name")) in _points(group):
            return load(group, name)
    return None


def registered_name(group: Group, name: str) -> str:
    """Return the registered name of a plug-in that is given as ``module:attribute``; any other name unchanged."""
    return next((known for known, point in _points(group).items() if point.value == name), name)


def _look_here(value: str) -> None:
    """Append the current folder to the module search path if no installed module has the typed module's name."""
    first = value.partition(":")[0].partition(".")[0]
    if first and first not in sys.modules and importlib.util.find_spec(first) is None:
        sys.path.append(str(Path.cwd()))


def missing_package(module: str, install: str) -> str:
    """Return how to install the package of a module, as ``missing()`` of a plug-in does; empty if it is installed."""
    return "" if importlib.util.find_spec(module) else f"needs the package {module!r}: pip install {install!r}"


def require_package(what: str, module: str, install: str) -> None:
    """Raise UsageError, with how to install the package of a module, if it is not installed."""
    if missing := missing_package(module, install):
        raise UsageError(f"{what} {missing}.")


def imported(what: str, value: str) -> Any:
    """Import ``module:attribute``; the only place that turns an exception of a broken package into a sentence.

    Raises
    ------
    UsageError
        If the import raises any exception; the message begins with `what`.
    """
    module, _, attribute = value.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what} cannot be imported: {_reason(error)}.") from error


def _reason(error: BaseException) -> str:
    """Return what an import raised, with the module that raised it if the message does not name one."""
    said = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, ImportError | AttributeError):
        return said
    import traceback  # imported late, like others below, so that only this case waits for it

    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    where = next(name for name in reversed(modules) if not name.startswith("importlib"))
    return f"{where} raised {type(error).__name__}: {said}"


def stated(group: Group, name: str, field: str) -> str:
    """Return the constant that a plug-in assigns to a field, such as ``description``; empty if there is none.

    It is read from the source, without importing the plug-in.
    """
    import ast

    definition = _definition(_points(group)[name])
    for node in ast.walk(definition) if definition else ():
        value = _assigned(node).get(field)
        if isinstance(value, ast.Constant):
            return str(value.value)
    return ""


def purpose(command: str) -> str:
    """Return the first line of a command's docstring, read from its source without importing it."""
    import ast

    definition = _definition(_points("commands")[command])
    text = ast.get_docstring(definition) if isinstance(definition, ast.FunctionDef) else None
    first = (text or "").partition("\n")[0].rstrip(".")
    return first[:1].lower() + first[1:]


def _definition(point: EntryPoint) -> ast.stmt | None:
    """Return the statement that defines an entry point's object, from its source; None if there is none."""
    import ast

    file = _source(point.module)
    try:
        statements = ast.parse(file.read_bytes()).body if file else []
    except (SyntaxError, ValueError):  # importing it reports the error, if it is needed
        return None
    for statement in statements:
        is_named = isinstance(statement, ast.ClassDef | ast.FunctionDef) and statement.name == point.attr
        if is_named or point.attr in _assigned(statement):
            return statement
    return None


def _assigned(node: ast.AST) -> dict[str, ast.expr | None]:
    """Return the names that a node assigns, with their values: in a class, in a call, or several in one statement."""
    import ast

    if isinstance(node, ast.keyword):
        return {node.arg or "": node.value}
    pairs: list[tuple[ast.expr, ast.expr | None]] = []
    if isinstance(node, ast.AnnAssign):
        pairs = [(node.target, node.value)]
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs += zip(target.elts, node.value.elts, strict=False)
            else:
                pairs.append((target, node.value))
    return {getattr(target, "id", ""): value for target, value in pairs}


def _source(module: str) -> Path | None:
    """Return a module's source file without importing its parent packages, as `find_spec` would; None if not found."""
    path, origin, parts = None, None, module.split(".")
    for depth in range(len(parts)):
        name = ".".join(parts[: depth + 1])
        found = next(filter(None, (finder.find_spec(name, path) for finder in sys.meta_path)), None)
        if found is None:
            return None
        path, origin = found.submodule_search_locations, found.origin
    return Path(origin) if origin and origin.endswith(".py") and Path(origin).is_file() else None


def listing(group: Group) -> list[Listed]:
    """List every plug-in of a group; one that fails to load is listed with the reason."""
    rows = []
    for name in names(group):
        try:
            plugin = load(group, name)
            rows.append(Listed(name, plugin, getattr(plugin, "missing", lambda: "")()))
        except UsageError as error:
            rows.append(Listed(name, None, str(error)))
    return rows


def usable(group: Group) -> list[Any]:
    """Return the plug-ins of a group that can be imported; log a warning, once, with why another one is left out.

    A broken plug-in stops only what requests it by name.
    """
    rows = listing(group)
    for broken in (row for row in rows if row.plugin is None and row.missing not in _warned):
        import logging  # imported late, so that only this case waits for it

        _warned.add(broken.missing)
        logging.getLogger(__name__).warning("Left out: %s", escaped(broken.missing))
    return [row.plugin for row in rows if row.plugin is not None]


def failed_imports(listed: Iterable[Listed]) -> str:
    """Return the end of a message that names plug-ins not asked as their import failed; empty if there are none."""
    broken = ", ".join(one.name for one in listed if one.plugin is None)
    return f" Not asked, because they cannot be imported ('harness list --check'): {broken}." if broken else ""
