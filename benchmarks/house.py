"""Measure size and coupling of this project, compared with its targets: ``python -m benchmarks.house [FOLDER]``.

- Lines are lines of Python files under ``harness/``, including docstrings, comments and blank lines; the core's are
  those outside ``harness/extensions/``. Docstrings' share: lines of docstrings among all of ``harness/``.
- A module is long with more than 300 lines, a function with more than 60 from its ``def`` to its end without its
  docstring. Both are warnings: `EXCEPTIONS` lists those that stay, each with its reason.
- Public class names: top-level classes without a leading underscore, of ``harness/``, ``suites/`` and ``benchmarks/``.
  Each name that is defined more than once counts. An import is no definition, so re-exports do not count.
- Circles: groups of files that import each other, directly or indirectly. Imports inside functions and those for types
  only count too.
- Constants of a run's configuration: modules that import a name in capitals from ``harness.run.config``.
- Members of a format: public methods and attributes that the classes `Format`, `Writer` and `Reader` define; to be
  implemented are those without a body or a value.
- Files of a window: those of ``harness/`` and ``suites/`` on the call stack, from the command line down, of the command
  ``harness run`` with one suite of window reads, on one trace in one format, with its report. The stack is recorded
  whenever a process starts, a function returns an array of a window's shape (read, expected or compared), a record is
  written, the summary or report is opened for writing, or a function returns a verdict. Code that only prepares a run
  or describes the machine is not part of it, nor is what extensions measure in addition to the read.
- Time of ``harness --help``: processor seconds, the least of five runs, including the start of Python.
"""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

EXCEPTIONS: dict[str, str] = {}
"""Long modules (``harness/x.py``) and functions (``harness/x.py:name``) that stay so, each with its reason."""

LONG_MODULE, LONG_FUNCTION = 300, 60
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LOOK = """
import os, sys, threading
WORDS = ("faster", "slower", "equivalent", "inconclusive")
known, out = set(), open(os.path.join(os.environ["HOUSE_SEEN"], str(os.getpid())), "a")
def note(frame):
    while frame is not None:
        if frame.f_code.co_filename not in known:
            known.add(frame.f_code.co_filename)
            print(frame.f_code.co_filename, file=out, flush=True)
        frame = frame.f_back
def look(frame, event, argument):
    if event == "return":
        word = type(argument) is str and argument in WORDS
        if word or type(argument).__name__ == "ndarray" and argument.shape.count(32) == 2:
            note(frame)
    elif event == "c_call" and argument.__name__ in ("write", "writerow", "fork_exec"):
        name = str(getattr(argument.__self__, "name", ".csv" if argument.__name__ == "writerow" else ""))
        if name.endswith((".csv", ".jsonl")) or "multiprocessing" in frame.f_code.co_filename:
            note(frame)
def opened(event, arguments):
    if event == "open" and str(arguments[0]).endswith(("summary.csv", "report.md")) and arguments[2] & 3:
        note(sys._getframe(1))
sys.addaudithook(opened)
threading.setprofile(look)
sys.setprofile(look)
"""
_WINDOW = (
    "run", "--quiet", "--preset", "quick", "--trace", "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4",
    "--sizes", "40", "--formats", "npz", "--baseline", "npz", "--suites", "random_access", "--rounds", "1",
    "--cache", "warm",
)  # fmt: skip


@cache
def trees(root: Path) -> dict[str, ast.Module]:
    """Parse every module of harness, suites and benchmarks, by its path."""
    paths = (path for part in ("harness", "suites", "benchmarks") for path in sorted((root / part).rglob("*.py")))
    return {path.relative_to(root).as_posix(): ast.parse(path.read_bytes()) for path in paths}


def lines(root: Path, path: str) -> int:
    """Count the lines of a file."""
    return (root / path).read_bytes().count(b"\n")


def docstring_lines(tree: ast.Module) -> int:
    """Count the lines of all docstrings of a module."""
    kinds = (ast.Module, ast.ClassDef, *_FUNCTIONS)
    found = (_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    return sum((node.end_lineno or 0) - node.lineno + 1 for node in found if node)


def _docstring(node: Any) -> ast.Expr | None:
    first = node.body[0] if node.body else None
    held = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return first if held else None


def long_modules(root: Path) -> dict[str, int]:
    """Return the modules of harness that are long, with their lines."""
    counted = {path: lines(root, path) for path in trees(root) if path.startswith("harness/")}
    return {path: count for path, count in counted.items() if count > LONG_MODULE and path not in EXCEPTIONS}


def long_functions(root: Path) -> dict[str, int]:
    """Return the functions of harness that are long, with their lines."""
    found = {}
    for path, tree in trees(root).items():
        for node in ast.walk(tree) if path.startswith("harness/") else ():
            if isinstance(node, _FUNCTIONS):
                told = _docstring(node)
                spoken = (told.end_lineno or 0) - told.lineno + 1 if told else 0
                found[f"{path}:{node.name}"] = (node.end_lineno or 0) - node.lineno + 1 - spoken
    return {name: count for name, count in found.items() if count > LONG_FUNCTION and name not in EXCEPTIONS}


def repeated_classes(root: Path) -> dict[str, list[str]]:
    """Return every public class name that is defined more than once, with where."""
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees(root).items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path)
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def _module(path: str) -> str:
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"harness.{name}" if name.partition(".")[0] == "suites" else name


def imports(root: Path) -> dict[str, set[str]]:
    """Return the modules that each module imports, including imports inside functions and for types only."""
    paths = {_module(path): tree for path, tree in trees(root).items()}
    found: dict[str, set[str]] = {}
    for name, tree in paths.items():
        found[name] = {module for node in ast.walk(tree) for module in _named(node) if module in paths} - {name}
    return found


def _named(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        inner = {f"{node.module}.{alias.name}" for alias in node.names}
        return inner | {node.module}
    return set()


def circles(root: Path) -> list[set[str]]:
    """Return the groups of modules that import each other, directly or indirectly."""
    direct = imports(root)
    reached: dict[str, set[str]] = {}
    for start in direct:
        seen: set[str] = set()
        queue = [start]
        while queue:
            for name in direct[queue.pop()] - seen:
                seen.add(name)
                queue.append(name)
        reached[start] = seen
    groups = {frozenset(name for name in reached[start] if start in reached[name]) for start in direct}
    return [set(group) for group in sorted(groups, key=sorted) if len(group) > 1]


def constants_of_configuration(root: Path) -> list[str]:
    """List the modules that import a constant from the module of a run's configuration."""
    found = set()
    for path, tree in trees(root).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in ("harness.run.config", "harness.measure.config"):
                found |= {path for alias in node.names if alias.name.isupper()}
    return sorted(found)


def members(root: Path) -> tuple[int, int]:
    """Count the public members of a format's classes, and those that a format has to implement."""
    known, owed = set(), set()
    for base in ("harness/formats/base.py", "harness/backends/base.py"):
        for node in trees(root)[base].body if base in trees(root) else ():
            if isinstance(node, ast.ClassDef) and node.name in ("Format", "Backend", "Writer", "Reader"):
                for part in node.body:
                    names = [part.name] if isinstance(part, _FUNCTIONS) else []
                    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                        names = [part.target.id]
                    for name in names:
                        if not name.startswith("_"):
                            known.add((node.name, name))
                            owed |= {(node.name, name)} if _empty(part) else set()
    return len(known), len(owed)


def _empty(part: ast.AST) -> bool:
    if isinstance(part, ast.AnnAssign):
        return part.value is None
    abstract = isinstance(part, _FUNCTIONS) and any("abstract" in ast.dump(found) for found in part.decorator_list)
    return abstract or "NotImplementedError" in ast.dump(part)


def files_of_a_window(root: Path) -> list[str]:
    """Run one suite of window reads, and list the files that a read passes on its way to a verdict."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "sitecustomize.py").write_text(_LOOK)
        (folder / "seen").mkdir()
        environment = os.environ | {"PYTHONPATH": f"{folder}:{root}", "HOUSE_SEEN": str(folder / "seen")}
        command = [sys.executable, "-m", "harness", *_WINDOW, "--out", str(folder / "results" / "run")]
        subprocess.run(command, cwd=folder, env=environment, check=True)
        seen = {name for file in (folder / "seen").iterdir() for name in file.read_text().splitlines()}
    inside = (Path(name).relative_to(root).as_posix() for name in seen if name.startswith(f"{root}/"))
    return sorted(path for path in inside if path.startswith(("harness/", "suites/")) and "/extensions/" not in path)


def help_seconds(root: Path) -> float:
    """Return the processor seconds of ``harness --help``: the least of five."""
    taken = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = os.environ | {"PYTHONPATH": str(root)}
        subprocess.run([sys.executable, "-m", "harness", "--help"], env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(taken)


def figures(root: Path) -> list[tuple[str, str, str]]:
    """Return the name, the value and the target of every figure."""
    inside = [path for path in trees(root) if path.startswith("harness/")]
    total = sum(lines(root, path) for path in inside)
    core = sum(lines(root, path) for path in inside if not path.startswith("harness/extensions/"))
    spoken = sum(docstring_lines(trees(root)[path]) for path in inside)
    known, owed = members(root)
    return [
        ("lines of the core", f"{core:,}", "17,000"),
        ("lines of harness/ with all extensions", f"{total:,}", "32,000"),
        ("docstrings' share", f"{100 * spoken / total:.1f} %", "at most 2 points less than before"),
        ("files that a window read passes", str(len(files_of_a_window(root))), "18"),
        ("members of the format classes: to understand / to implement", f"{known} / {owed}", "15 / 8"),
        ("modules that import a run's configuration for constants", str(len(constants_of_configuration(root))), "0"),
        ("public class names that occur more than once", str(len(repeated_classes(root))), "0"),
        ("modules over 300 lines", str(len(long_modules(root))), "0"),
        ("functions over 60 lines", str(len(long_functions(root))), "0"),
        ("circles of files", str(len(circles(root))), "0"),
        ("harness --help, processor time", f"{help_seconds(root):.2f} s", "0.3 s"),
    ]


def main() -> None:
    """Print the table, and the details of figures that miss their target."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    for name, now, target in figures(root):
        print(f"{name:60} {now:>12}   {target}")
    for name, found in (("long module", long_modules(root)), ("long function", long_functions(root))):
        for place, count in sorted(found.items(), key=lambda pair: -pair[1]):
            print(f"{name}: {place} {count}")
    for name, places in repeated_classes(root).items():
        print(f"class {name}: {', '.join(places)}")
    for group in circles(root):
        print(f"circle: {', '.join(sorted(group))}")


if __name__ == "__main__":
    main()
