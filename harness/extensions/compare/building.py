"""Build a side: a commit of a checkout, or this version with other libraries, each in its own virtual environment.

Environments are cached by what they were made of. An environment is complete if its record exists, which is written
last. An interrupted or failed build leaves no record, and is repeated.
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
from collections.abc import Sequence
from pathlib import Path

import harness
from harness.errors import UsageError
from harness.extensions.compare.side import Process, Side, SideError, output
from harness.files import write_text

EXISTING = "existing:"
"""Prefix of an environment that is used as it is."""

_RECORD = "whole.json"
_SOURCES = ("harness", "suites", "pyproject.toml", "setup.py", "README.md", "LICENSE")
_OWN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "VIRTUAL_ENV")  # variables for this Python only
_START = 120.0  # seconds for a side's first imports


def default_cache() -> Path:
    """Return the folder where environments are kept: under ``XDG_CACHE_HOME``, or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trace-format-harness"


def commit_side(name: str, text: str, python: Path, pins: Sequence[str], repository: Path) -> Side:
    """Return the side of a commit.

    Raises
    ------
    UsageError
        If there is no such repository or commit, or the work tree has changes that no commit holds.
    """
    top = _git(repository, "rev-parse", "--show-toplevel")
    if top is None:
        raise UsageError(f"{repository} is not a git checkout, so it has no commits to compare: name one with --repo.")
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
    return Side(name=name, label=label, python=python, source=commit, pins=tuple(pins), repository=Path(top))


def environment_side(name: str, text: str, python: Path) -> Side:
    """Return the side of this version with certain libraries: ``zarr==3.1.6``, or ``existing:PYTHON``.

    Raises
    ------
    UsageError
        If it names nothing, or the sources of this version are not available.
    """
    if text.startswith(EXISTING):
        found = Path(text.removeprefix(EXISTING))
        if not found.is_file():
            raise UsageError(f"There is no interpreter {found}: --env {EXISTING}PYTHON names one by its path.")
        return Side(name=name, label=text, python=found.absolute())
    pins = tuple(part for part in re.split(r"[,\s]+(?=[A-Za-z])", text.strip()) if part)
    if not pins or any(pin.startswith("-") for pin in pins):
        raise UsageError(f"--env takes requirements such as 'zarr==3.1.6', or {EXISTING}PYTHON, got {text!r}.")
    state = hashlib.sha256()
    for file, path in _own_sources().items():
        state.update(f"{file}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return Side(name=name, label=text, python=python, source=state.hexdigest(), pins=pins)


def build(side: Side, cache: Path) -> Side:
    """Build a side's environment, or take it from the cache, and add the facts that it reports.

    Raises
    ------
    UsageError
        If it cannot be built, or what was built cannot be measured.
    """
    if side.source:
        side = dataclasses.replace(side, python=_environment(side, cache))
    try:
        with tempfile.TemporaryDirectory(prefix="harness-") as folder, Process(side, Path(folder), _START) as process:
            return dataclasses.replace(side, facts=process.ask("hello"))
    except (SideError, OSError) as error:
        raise UsageError(f"{side} cannot be measured: {str(error).rstrip('.')}.") from error


def _environment(side: Side, cache: Path) -> Path:
    """Return the interpreter of the side's environment; build the environment if it is missing."""
    version = _run(side, [str(side.python), "-I", "-c", "import sys; print(sys.version, sys.base_prefix)"])
    made_of = {"source": side.source, "python": version.strip(), "pins": sorted(side.pins)}
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    folder = cache / key
    python = folder / "environment" / "bin" / "python"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"{key}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process builds at a time; the end of the process releases the lock
            if not (folder / _RECORD).is_file():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                _install(side, folder, python)
                write_text(folder / _RECORD, json.dumps({"label": side.label, **made_of}, indent=1) + "\n")
    except OSError as error:
        raise UsageError(
            f"Environments cannot be kept in {cache} ({error.strerror or error}): choose another --cache-dir."
        ) from error
    return python


def _install(side: Side, folder: Path, python: Path) -> None:
    source = folder / "source"
    source.mkdir()
    try:
        _unpack(side, source)
        _run(side, [str(side.python), "-I", "-m", "venv", str(folder / "environment")])
        pip = [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run(side, [*pip, str(source), *side.pins])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(source)


def _unpack(side: Side, folder: Path) -> None:
    """Copy the project's sources into a folder."""
    if side.repository is None:
        for file, path in _own_sources().items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, folder / file)
        return
    with tempfile.TemporaryFile() as packed:
        subprocess.run(["git", "archive", side.source], cwd=side.repository, stdout=packed, check=True)
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            archive.extractall(folder, filter="data")
    if not (folder / "pyproject.toml").is_file():
        raise UsageError(f"{side} does not build: it has no pyproject.toml.")


def _own_sources() -> dict[str, Path]:
    """Return the files of this version's sources, by their relative paths."""
    root = Path(harness.__file__).parent.parent
    if not (root / "pyproject.toml").is_file():
        raise UsageError(
            f"An environment is built from this project's checkout, and {root} is none: 'pip install -e' it."
        )
    paths = [path for name in _SOURCES for path in (root / name, *sorted((root / name).rglob("*")))]
    files = [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(root).as_posix(): path for path in files}


def _run(side: Side, command: Sequence[str]) -> str:
    """Run a step of a build and return its output; if it fails, raise a UsageError with its last message."""
    environment = {k: v for k, v in os.environ.items() if k not in _OWN}
    try:
        code, out, err = output(command, environment)
    except OSError as error:
        raise UsageError(f"{side} does not build: {command[0]}: {error.strerror}.") from error
    if code:
        lines = [line.strip() for line in (err + out).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")] or lines or ["it said nothing"]
        other = any("Requires-Python" in line for line in lines)
        hint = " Another Python may do: name its interpreter with --python." if other else ""
        raise UsageError(f"{side} does not build: {errors[-1].removeprefix('ERROR: ').rstrip('.')}.{hint}")
    return out


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git; None if it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def differing(base: Side, head: Side) -> list[str]:
    """Return the differences between two sides except the project itself: Python and libraries, in words."""
    installers = ("pip", "setuptools", "wheel", "trace-format-harness")
    ours, theirs = ({"Python": side.facts["python"], **side.facts["packages"]} for side in (base, head))
    return [
        f"{name} ({ours.get(name, 'not installed')}, then {theirs.get(name, 'not installed')})"
        for name in ("Python", *sorted({*ours, *theirs} - {"Python"}))
        if ours.get(name) != theirs.get(name) and name.lower() not in installers
    ]
