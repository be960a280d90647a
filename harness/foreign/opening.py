"""A file or folder as a trace, whoever wrote it: an archive, what a known program wrote, or anybody's arrays."""

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
    """What is to be opened as one trace."""

    paths: tuple[Path, ...]  # Files and folders; several are arrays of one trace.
    kind: str = ""  # The importer, where it is not to be found from the content.
    rules: tuple[MapRule, ...] = ()  # What arrays are, where it is not to be guessed.

    def __post_init__(self) -> None:
        for path in map(os.fspath, self.paths):
            if _SEPARATOR in path or path.startswith((_KIND, _MAP)):
                raise UsageError(f"The name {path!r} has {_SEPARATOR!r} in it, or begins as an option: rename it.")

    @classmethod
    def parse(cls, text: str) -> Asked:
        """Read what `str` gives; UsageError where there is no path."""
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
        """Its name in records."""
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"file:{self.paths[0].resolve().name}{more}"


@dataclass(frozen=True, kw_only=True)
class TakenArrays:
    """Arrays of other programs as a trace, and what they were taken for."""

    trace: ImportedTrace  # Of all that is not left out.
    guesses: Mapping[str, Guess]  # By the path of each tensor.
    left_out: Mapping[str, str]  # What of the files is not in the trace, and why.
    renamed: Mapping[str, str]  # Names that no archive could have, by the paths that stand for them.
    notes: Sequence[str]  # What else has to be known of the files.
    # Whether nobody but the names and shapes says what they are; false where a known program wrote them.
    guessed: bool = True


def open_paths(asked: Asked) -> Trace:
    """Open files and folders as one trace: an archive, what a known program wrote, or else arrays.

    Raises
    ------
    UsageError
        Where there is nothing at a path, nothing that can be read, or what was asked does not fit it.
    ArchiveError, SourceError
        Where it is damaged.
    """
    known = _known(asked)
    if isinstance(known, Path):
        return open_archived(known)
    return _imported(known, asked) if known else take_arrays(asked).trace


def taken(asked: Asked) -> TakenArrays | None:
    """Return what arrays are taken for, by the importer of a known program or else by guess; None for an archive."""
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
    """Say whether there is an archive, or what a program wrote that is known: then nobody's rules are asked for."""
    return _known(asked) is not None


def _known(asked: Asked) -> Path | Importer | None:
    """Return the path of an archive, the importer of what a known program wrote, or None for anybody's arrays."""
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
    """Refuse a path at which there is nothing to read: UsageError."""
    if not path.exists():
        raise UsageError(f"There is no file or folder {path}.")
    if not path.is_dir():
        check_regular(path)
    if not (any(path.iterdir()) if path.is_dir() else path.stat().st_size):
        raise UsageError(f"{path} is empty: there is nothing to read.")


def _importer(path: Path, kind: str) -> Importer | None:
    """Return the importer of a path by its name or else by content; None where no program is known that wrote it."""
    if kind:
        named: Importer = registry.load("importers", kind)
        return named
    fitting = [one.plugin for one in registry.listing("importers") if one.plugin and one.plugin.recognises(path)]
    if len(fitting) > 1:
        names = " or ".join(f"--kind {importer.name}" for importer in fitting)
        raise UsageError(f"{path} can be read in more than one way; say which with {names}.")
    return fitting[0] if fitting else None


def take_arrays(asked: Asked) -> TakenArrays:
    """Make a trace of every array of numbers in files and folders.

    Raises
    ------
    UsageError
        Where a rule fits nothing, or names do not differ enough to be stored.
    SourceError
        Where a file is damaged, or there is no array.
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
