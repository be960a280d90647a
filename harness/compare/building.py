"""Build a side: a commit of a checkout, or this version with other libraries, each in a virtual environment of its own.

Environments are kept, by what they were made of. One is whole when its record is there, which is written last; what an
interrupted or failed build left has none and is made anew.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
from harness.compare.command import output
from harness.compare.probe import PROTOCOL
from harness.compare.side import NotComparable, Process, Side, SideError
from harness.errors import UsageError
from harness.files import write_text

EXISTING = "existing:"
"""Begins an environment that is used as it is."""

_RECORD = "whole.json"
_SOURCES = ("harness", "suites", "pyproject.toml", "README.md", "LICENSE")
_OWN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "VIRTUAL_ENV")  # variables of this Python, no other's
_START = 120.0  # seconds for a side's first imports


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a side is made of.

    Attributes
    ----------
    name : str
        ``base`` or ``head``.
    label : str
        For people.
    python : Path
        The interpreter to build with, or, where `existing`, to use.
    source : str
        Identifies the project's sources: a commit, or a digest of files.
    pins : tuple of str
        Requirements besides the project.
    repository : Path or None
        Where the commit is; None for the sources of this version.
    existing : bool
        Whether the environment is used as it is.
    """

    name: str
    label: str
    python: Path
    source: str = ""
    pins: tuple[str, ...] = ()
    repository: Path | None = None
    existing: bool = False


def default_cache() -> Path:
    """Say where environments are kept: under ``XDG_CACHE_HOME``, or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trace-format-harness"


def commit_recipe(name: str, text: str, python: Path, pins: Sequence[str], repository: Path) -> Recipe:
    """Describe a side that is a commit.

    Raises
    ------
    UsageError
        When there is no such repository or commit, or the work tree has changes that no commit holds.
    """
    top = _git(repository, "rev-parse", "--show-toplevel")
    if top is None:
        raise UsageError(f"{repository} is no checkout of git, so it has no commits to compare: name one with --repo.")
    commit = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    if commit is None:
        raise UsageError(
            f"There is no {name} {text!r}: it is neither a commit of {repository} nor the folder or bundle of a run."
        )
    changed = (_git(repository, "status", "--porcelain", "--untracked-files=no") or "").splitlines()
    if changed:
        first = changed[0].split(maxsplit=1)[-1]
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UsageError(
            f"The work tree of {repository} has changes that no commit holds ({first}{more}), so comparing commits "
            "would not measure them: commit or stash them first."
        )
    subject = _git(repository, "log", "-1", "--format=%s", commit) or ""
    label = f"{text} ({commit[:10]}{': ' if subject else ''}{subject[:60]})"
    return Recipe(name=name, label=label, python=python, source=commit, pins=tuple(pins), repository=Path(top))


def environment_recipe(name: str, text: str, python: Path) -> Recipe:
    """Describe a side that is this version with certain libraries: ``zarr==3.1.6``, or ``existing:PYTHON``.

    Raises
    ------
    UsageError
        When it names nothing, or this version's sources are not at hand.
    """
    if text.startswith(EXISTING):
        found = Path(text.removeprefix(EXISTING))
        if not found.is_file():
            raise UsageError(f"There is no interpreter {found}: --env {EXISTING}PYTHON names one by its path.")
        return Recipe(name=name, label=text, python=found.absolute(), existing=True)
    pins = tuple(part for part in re.split(r"[,\s]+(?=[A-Za-z])", text.strip()) if part)
    if not pins or any(pin.startswith("-") for pin in pins):
        raise UsageError(f"--env takes requirements such as 'zarr==3.1.6', or {EXISTING}PYTHON, got {text!r}.")
    return Recipe(name=name, label=text, python=python, source=_own_sources()[1], pins=pins)


def build(recipe: Recipe, cache: Path) -> Side:
    """Make a side's environment, or take it from the cache, and ask it what it is.

    Parameters
    ----------
    recipe : Recipe
        From `commit_recipe` or `environment_recipe`.
    cache : Path
        Where environments are kept.

    Returns
    -------
    Side
        With its facts.

    Raises
    ------
    UsageError
        When it cannot be built, or what was built cannot be measured.
    """
    python = recipe.python if recipe.existing else _environment(recipe, cache)
    side = Side(name=recipe.name, label=recipe.label, python=python)
    try:
        with tempfile.TemporaryDirectory(prefix="harness-") as folder, Process(side, Path(folder), _START) as process:
            facts = process.ask("hello")
    except (SideError, OSError) as error:
        raise UsageError(f"{_whole(recipe)} cannot be measured: {_sentence(str(error))}") from error
    if facts["protocol"] != PROTOCOL:
        raise UsageError(f"{_whole(recipe)} speaks protocol {facts['protocol']}, this version {PROTOCOL}.")
    return dataclasses.replace(side, facts=facts)


def _whole(recipe: Recipe) -> str:
    return f"The {recipe.name}, {recipe.label},"


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."


def _environment(recipe: Recipe, cache: Path) -> Path:
    """Return the interpreter of the recipe's environment, made when it is not there."""
    version = _run(recipe, [str(recipe.python), "-I", "-c", "import sys; print(sys.version, sys.base_prefix)"])
    made_of = {"source": recipe.source, "python": version.strip(), "pins": sorted(recipe.pins)}
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    folder = cache / key
    python = folder / "environment" / "bin" / "python"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{key}.lock"):
            if not (folder / _RECORD).is_file():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                _install(recipe, folder, python)
                write_text(folder / _RECORD, json.dumps({"label": recipe.label, **made_of}, indent=1) + "\n")
    except OSError as error:
        raise UsageError(
            f"Environments cannot be kept in {cache} ({error.strerror or error}): choose another --cache-dir."
        ) from error
    return python


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process build at a time; the lock goes with the process that holds it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(recipe: Recipe, folder: Path, python: Path) -> None:
    source = folder / "source"
    source.mkdir()
    try:
        _unpack(recipe, source)
        _run(recipe, [str(recipe.python), "-I", "-m", "venv", str(folder / "environment")])
        pip = [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run(recipe, [*pip, str(source), *recipe.pins])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(source)


def _unpack(recipe: Recipe, folder: Path) -> None:
    """Put the project's sources into a folder."""
    if recipe.repository is None:
        root, _ = _own_sources()
        for name in _SOURCES:
            if (root / name).is_dir():
                shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (root / name).is_file():
                shutil.copy2(root / name, folder / name)
        return
    with tempfile.TemporaryFile() as packed:
        subprocess.run(["git", "archive", recipe.source], cwd=recipe.repository, stdout=packed, check=True)
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            archive.extractall(folder, filter="data")
    if not (folder / "pyproject.toml").is_file():
        raise UsageError(f"{_whole(recipe)} does not build: it has no pyproject.toml.")


def _own_sources() -> tuple[Path, str]:
    """Return the folder of this version's sources and their digest."""
    root = Path(harness.__file__).parent.parent
    if not (root / "pyproject.toml").is_file():
        raise UsageError(
            f"An environment is built from this project's checkout, and {root} is none: 'pip install -e' it."
        )
    state = hashlib.sha256()
    for name in _SOURCES:
        files = [root / name] if (root / name).is_file() else sorted((root / name).rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                state.update(f"{file.relative_to(root)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return root, state.hexdigest()


def _run(recipe: Recipe, command: Sequence[str]) -> str:
    """Run a step of a build, and end it with all that it started when Ctrl-C comes.

    Raises
    ------
    UsageError
        With what it said last.
    """
    environment = {k: v for k, v in os.environ.items() if k not in _OWN}
    try:
        code, out, err = output(command, environment)
    except OSError as error:
        raise UsageError(f"{_whole(recipe)} does not build: {command[0]}: {error.strerror}.") from error
    if code:
        lines = [line.strip() for line in (err + out).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")] or lines or ["it said nothing"]
        other = any("Requires-Python" in line for line in lines)
        hint = " Another Python may do: name its interpreter with --python." if other else ""
        raise UsageError(f"{_whole(recipe)} does not build: {_sentence(errors[-1].removeprefix('ERROR: '))}{hint}")
    return out


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, None where it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def differing(base: Side, head: Side) -> list[str]:
    """List what differs between two sides besides the project itself: Python and libraries, in words."""
    pairs: list[tuple[str, Any, Any]] = [("Python", base.facts.get("python"), head.facts.get("python"))]
    ours, theirs = (side.facts.get("packages", {}) for side in (base, head))
    installers = ("pip", "setuptools", "wheel", "trace-format-harness")
    pairs += [(n, ours.get(n), theirs.get(n)) for n in sorted({*ours, *theirs}) if n.lower() not in installers]
    return [f"{n} ({a or 'not installed'}, then {b or 'not installed'})" for n, a, b in pairs if a != b]


def check_sides(base: Side, head: Side, formats: Sequence[str], suites: Sequence[str]) -> None:
    """Check that both sides have every suite, and base every format; one that only head lacks is a regression.

    Raises
    ------
    NotComparable
        Naming the first that one of them lacks.
    """
    for side in (base, head):
        for kind, wanted in (("suite", suites), ("format", formats)):
            registered = side.facts[f"{kind}s"]
            lost = [name for name in wanted if ":" not in name and name not in registered]
            if lost and (kind == "suite" or side is base):
                raise NotComparable(
                    f"The {side.name}, {side.label}, has no {kind} {lost[0]!r}: choose others with --{kind}s "
                    f"(it has {', '.join(registered)})."
                )
