"""Open any file or folder as a trace: an archive, the output of a known program, or arrays of any other program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import registry
from harness.errors import UsageError
from harness.files import check_regular
from harness.foreign.containers import Arrays, is_archive, is_sealed, list_arrays
from harness.foreign.guessing import Guess, MapRule, guess, parse_rule
from harness.foreign.naming import plain_paths
from harness.foreign.source import Gathering, ImportedTrace, Importer
from harness.formats.archive_trace import open_archived
from harness.trace.complexes import stated_chains
from harness.trace.stream import Trace, TraceSource

_SEPARATOR = "::"
_KIND, _MAP = "kind=", "map="


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Paths and options to open as one trace."""

    paths: tuple[Path, ...]  # Files and folders; several contribute arrays to one trace.
    kind: str = ""  # Name of the importer; empty to detect it from the content.
    rules: tuple[MapRule, ...] = ()  # Roles and axes of arrays, in place of guesses.

    def __post_init__(self) -> None:
        for path in map(os.fspath, self.paths):
            if _SEPARATOR in path or path.startswith((_KIND, _MAP)):
                raise UsageError(f"The name {path!r} has {_SEPARATOR!r} in it, or begins as an option: rename it.")

    @classmethod
    def parse(cls, text: str) -> Asked:
        """Parse the text that `str` returns; raise `UsageError` if it has no path."""
        parts = text.split(_SEPARATOR)
        rules = tuple(parse_rule(part.removeprefix(_MAP)) for part in parts if part.startswith(_MAP))
        kinds = [part.removeprefix(_KIND) for part in parts if part.startswith(_KIND)]
        paths = tuple(Path(part) for part in parts if part and not part.startswith((_KIND, _MAP)))
        if not paths:
            raise UsageError("The trace 'file' needs a path: --trace file:PATH.")
        return cls(paths=paths, kind=kinds[0] if kinds else "", rules=rules)

    def __str__(self) -> str:
        kind = [f"{_KIND}{self.kind}"] if self.kind else []
        return _SEPARATOR.join([*map(os.fspath, self.paths), *kind, *(f"{_MAP}{rule}" for rule in self.rules)])

    @property
    def label(self) -> str:
        """Label of the trace in records."""
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"file:{self.paths[0].resolve().name}{more}"


@dataclass(frozen=True, kw_only=True)
class TakenArrays:
    """Arrays of other programs as a trace, with the roles and axes assigned to them."""

    trace: ImportedTrace  # All arrays that are not left out.
    guesses: Mapping[str, Guess]  # Role and axes of each tensor, by path.
    left_out: Mapping[str, str]  # Reason for each item of the files that is not in the trace, by name.
    renamed: Mapping[str, str]  # Original names that an archive cannot have, by the path that replaces each.
    notes: Sequence[str]  # Other remarks on the files.
    # Whether roles and axes are guessed from names and shapes; false if a known program wrote the files.
    guessed: bool = True


def open_paths(asked: Asked) -> Trace:
    """Open files and folders as one trace: an archive, the output of a known program, or else arrays.

    Raises
    ------
    UsageError
        If a path does not exist or has nothing readable, or the options do not fit it.
    ArchiveError, SourceError
        If a file is damaged.
    """
    known = _known(asked)
    if isinstance(known, Path):
        return open_archived(known)
    return _imported(known, asked) if known else take_arrays(asked).trace


def taken(asked: Asked) -> TakenArrays | None:
    """Return arrays with the roles and axes of a known program's importer, or else guesses; None for an archive."""
    known = _known(asked)
    if isinstance(known, Path):
        return None
    if known is None:
        return take_arrays(asked)
    trace = _imported(known, asked)
    why = f"imported by {known.name}"
    guesses = {spec.path: Guess(role=spec.role, axes=spec.axes, why=why) for spec in trace.manifest.tensors}
    note = trace.manifest.provenance.note
    notes = [note] if note else []
    return TakenArrays(trace=trace, guesses=guesses, left_out={}, renamed={}, notes=notes, guessed=False)


def is_known(asked: Asked) -> bool:
    """Return whether this is an archive or the output of a known program, which needs no rules."""
    return _known(asked) is not None


def _known(asked: Asked) -> Path | Importer | None:
    """Return the path of an archive, the importer for the output of a known program, or None for other arrays."""
    for path in asked.paths:
        require(path)
    if len(asked.paths) > 1 or asked.rules:
        if asked.kind:
            raise UsageError("--kind names the importer of one file or folder: give one, and no --map.")
        return None
    (path,) = asked.paths
    if is_sealed(path):
        if asked.kind:
            raise UsageError(f"{path} is an archive of this harness, which no importer reads: leave out --kind.")
        return path
    importer = _importer(path, asked.kind)
    return path if importer is None and is_archive(path) else importer


def _imported(importer: Importer, asked: Asked) -> ImportedTrace:
    trace = importer.read(asked.paths[0])
    trace.label = asked.label
    return trace


def require(path: Path) -> None:
    """Raise `UsageError` if there is nothing to read at a path."""
    if not path.exists():
        raise UsageError(f"There is no file or folder {path}.")
    if not path.is_dir():
        check_regular(path)
    if not (any(path.iterdir()) if path.is_dir() else path.stat().st_size):
        raise UsageError(f"{path} is empty: there is nothing to read.")


def _importer(path: Path, kind: str) -> Importer | None:
    """Return the importer named `kind`, or else the one that recognises the path; None if none does."""
    if kind:
        named: Importer = registry.load("importers", kind)
        return named
    fitting = [one.plugin for one in registry.listing("importers") if one.plugin and one.plugin.recognises(path)]
    if len(fitting) > 1:
        names = " or ".join(f"--kind {importer.name}" for importer in fitting)
        raise UsageError(f"{path} can be read in more than one way; say which with {names}.")
    return fitting[0] if fitting else None


def take_arrays(asked: Asked) -> TakenArrays:
    """Return a trace of all numeric arrays in files and folders.

    Raises
    ------
    UsageError
        If a rule fits no array, rules leave out every array, or names do not differ enough to be stored.
    SourceError
        If a file is damaged, or there is no numeric array.
    """
    arrays = list_arrays(asked.paths)
    guesses = guess(arrays.found, asked.rules)
    kept = {name: guesses[name] for name in arrays.found if guesses[name].role is not None}
    if not kept:
        raise UsageError(f"{asked.label.removeprefix('file:')}: --map leaves out every array; keep at least one.")
    paths = plain_paths(kept)
    gathering = _gathered(asked, arrays)
    for name, found in kept.items():
        gathering.add(paths[name], arrays.found[name], name, axes=found.axes, role=found.role)
    renamed = {path: name for name, path in paths.items() if path != name}
    gathering.notes += [f"{name} is stored as {path}" for path, name in renamed.items()]
    gathering.leave_out(f"{name} ({why})" for name, why in arrays.left_out.items())
    gathering.leave_out((name for name in arrays.found if name not in kept), "as told")
    left = dict(arrays.left_out) | {name: "as told" for name in arrays.found if name not in kept}
    by_path = {paths[name]: found for name, found in kept.items()}
    trace = gathering.trace(label=asked.label)
    trace.manifest = replace(trace.manifest, chains=stated_chains(trace))
    return TakenArrays(trace=trace, guesses=by_path, left_out=left, renamed=renamed, notes=arrays.notes)


def _gathered(asked: Asked, arrays: Arrays) -> Gathering:
    gathering = Gathering(asked.paths[0], "arrays")
    for file in dict.fromkeys(arrays.files):
        gathering.file(file)
    gathering.notes += arrays.notes
    return gathering


def _open_source(text: str, n_res: int | None) -> Trace:
    return open_paths(Asked.parse(text))


file_source = TraceSource(
    name="file",
    description="an archive, what a known program wrote, or arrays in any container: file:PATH",
    open=_open_source,
    paths=lambda text: tuple(map(os.fspath, Asked.parse(text).paths)),
)
