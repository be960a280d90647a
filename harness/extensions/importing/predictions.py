"""Conversion of a program's outputs to a trace, with separate paths for the arrays of each prediction."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.extensions.importing.file_contents import FileContent
from harness.extensions.importing.output_files import (
    LABELS,
    FoundFile,
    OtherFile,
    OutputFile,
    OutputProgram,
    TensorPlace,
    look,
)
from harness.extensions.importing.padding import FileArrays, without_padding
from harness.extensions.importing.structures import complex_of
from harness.files import file_digest
from harness.foreign.naming import unpadded
from harness.foreign.source import ForeignArray, Gathering, ImportedTrace, SourceError
from harness.trace.chains import Chain, protein_chains
from harness.trace.manifest import Metadata
from harness.trace.schema import Role, SchemaError, role_of, tensor, validate_path


class _OneFile:
    """Cache of one file's content, as the arrays of a file are streamed one after the other. Threads may share it."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._content = FileContent()
        self._turns = threading.Lock()

    def content(self, read: Callable[[Path], FileContent], path: Path) -> FileContent:
        """Return the content of a file; read it only if the cache holds another file."""
        with self._turns:  # otherwise another thread could replace the content before it is returned
            if self._path != path:
                self._path, self._content = None, FileContent()  # free the old content before reading
                self._content = read(path)
                self._path = path
            return self._content

    def values(self, read: Callable[[Path], FileContent], path: Path, name: str) -> Any:
        """Return the values of an array of a file."""
        return self.content(read, path).arrays[name].load()


@dataclass
class _Reading:
    """State of a source while its files are read one after the other."""

    gathering: Gathering
    varying: set[str]
    held: _OneFile = field(default_factory=_OneFile)
    files: list[FileArrays] = field(default_factory=list)
    taken: dict[str, str] = field(default_factory=dict)
    left: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    facts: defaultdict[str, set[Any]] = field(default_factory=lambda: defaultdict(set))

    def add(self, found: FoundFile) -> None:
        """Add all arrays of a file, the names of items left out, its facts and its notes."""
        read, path = found.file.read, found.path
        content = self.held.content(read, path) if found.file.whole else read(path)
        self.gathering.file(path)  # after reading, which raises if the file is too long
        arrays = {name: array._replace(files=(path,)) for name, array in content.arrays.items()}
        if found.file.whole:
            for name, array in arrays.items():
                load = partial(self.held.values, read, path, name)
                arrays[name] = array._replace(load=load, rows=None, chunks=None)
        self.files.append(FileArrays(found, arrays))
        for why, name in content.left:
            self.left[why].add(name)
        for fact, value in content.facts.items():
            self.facts[fact].add(value)
        self.gathering.notes += [note for note in content.notes if note not in self.gathering.notes]

    def place(self, title: str) -> None:
        """Assign a path and axes to each array of the added files."""
        for found, arrays in without_padding(title, self.files, self.gathering.notes):
            for name, array in arrays.items():
                self._place(found, found.label(self.varying), name, array)

    def _place(self, found: FoundFile, label: str, name: str, array: ForeignArray) -> None:
        own, origin = TensorPlace(unpadded(f"{found.file.group}/{name}")), f"{found.path}: {name}"
        place = found.file.places.get(name, own)
        fitted, axes = _fitted(array, place, origin, found.file.batched)
        if axes is None and place is not own:
            known = " or ".join(" ".join(form) or "none" for form in place.forms)
            note = f"{name} has shape {array.shape}, not axes {known}: stored as {own.path}"
            self.gathering.notes += [note] if note not in self.gathering.notes else []
            place = own
        path = _within(place.path, label)
        if not _is_path(path):
            self.left["no name that a tensor may have"].add(name)
            return
        kind = found.file.kind
        if self.taken.setdefault(path, kind) != kind:
            path = _within(place.path, label, kind)
        plain = axes is None and not _fits_schema(path, fitted)
        self.gathering.add(path, fitted, origin, axes, Role.ARRAY if plain else role_of(place.path))


def read_predictions(program: OutputProgram, path: Path, otherwise: OutputFile | None = None) -> ImportedTrace:
    """Read a file of a program, or a folder with the predictions of one job.

    Parameters
    ----------
    program : OutputProgram
        The program.
    path : Path
        The file or folder.
    otherwise : OutputFile, optional
        Kind of a file whose name identifies none.

    Raises
    ------
    UsageError
        If it holds nothing of the program, or results of several jobs.
    SourceError
        If a file is truncated or damaged, or two files do not fit together.
    """
    looked = list(look(program, path))
    files = [found for found in looked if isinstance(found, FoundFile)]
    if not files and otherwise is not None and not path.is_dir():
        looked, files = [], [FoundFile(path.name, path, otherwise, {})]
    if not files:
        raise UsageError(f"{path} holds no arrays that {program.title} writes.")
    jobs = sorted({found.parts["job"] for found in files if "job" in found.parts})
    if len(jobs) > 1:
        raise UsageError(
            f"{path} holds results of {len(jobs)} jobs ({', '.join(jobs[:3])}{', ...' if jobs[3:] else ''}), a trace "
            "is of one; name a file, or put the files of one job into a folder of their own."
        )
    said = {part: {found.parts[part] for found in files if part in found.parts} for part in LABELS}
    reading = _Reading(Gathering(path, program.name), {part for part in LABELS if len(said[part]) > 1})
    for kind in (otherwise, *program.files):
        for found in (found for found in files if found.file is kind):
            if original := _original(found, files):
                reading.left[f"the same bytes as {original}"].add(found.name)
            else:
                reading.add(found)
    reading.place(program.title)
    for other in looked:
        if isinstance(other, OtherFile) and other.why:
            reading.left[other.why].add(other.name)
    return _trace(reading, program, path, said)


def _trace(reading: _Reading, program: OutputProgram, path: Path, said: Mapping[str, set[str]]) -> ImportedTrace:
    gathering = reading.gathering
    facts = program.facts(gathering) if path.is_dir() else {}
    if len(said["model"]) == 1:
        facts["model_version"] = next(iter(said["model"]))
    recycles, sequences = sorted(reading.facts["num_recycles"]), sorted(reading.facts["sequences"])
    if len(recycles) == 1:
        facts["num_recycles"] = recycles[0]
    elif recycles:
        gathering.notes.append(f"results of {', '.join(map(str, recycles))} recycles")
    if len(sequences) == 1:
        gathering.add_letters("".join(sequences[0]), f"{path}: the sequence")
    elif sequences:
        reading.left["sequences that differ from file to file"].add("seqs")
    chains = _add_tables(reading, program, path)
    if not chains and len(sequences) == 1 and len(sequences[0]) > 1:
        chains = protein_chains(sequences[0])
    for why, names in reading.left.items():
        gathering.leave_out(names, why)
    seed = int(next(iter(said["seed"]))) if len(said["seed"]) == 1 else None
    return gathering.trace(Metadata(**facts), seed, chains=chains)


def _add_tables(reading: _Reading, program: OutputProgram, path: Path) -> tuple[Chain, ...]:
    """Add the tables of the complex that all samples share, if files state it.

    Returns its chains; none if the tables do not fit the arrays.
    """
    structures, tokens = reading.facts["structure"], set(program.tokens(reading.facts))
    if len(structures) > 1 or len(tokens) > 1:
        raise SourceError(f"{path} holds samples of different complexes; put those of one into a folder of their own.")
    lengths = {axis: n for spec in reading.gathering.specs for axis, n in zip(spec.axes, spec.shape, strict=True)}
    found = complex_of(next(iter(structures), None), next(iter(tokens), ()), lengths.get("token"))
    if found is None:
        return ()
    counts = {"chain": len(found.chains), **({"token": found.chains[-1].stop} if found.tokens else {})}
    counts |= {"atom": len(found.atoms["name"])} if found.atoms else {}
    for axis, count in counts.items():
        if (other := lengths.get(axis, count)) != count:
            reading.left[f"tables of {count} {axis}s where arrays have {other}"].add("chains, tokens and atoms")
            return ()
    if not found.tokens:
        reading.left[f"the atoms are not of the {lengths['token']} tokens that arrays have"].add("tokens")
    for spec, array in found.arrays().items():
        reading.gathering.add(spec.path, ForeignArray.of(array), f"{path}: the {spec.axes[0]}s", spec.axes, spec.role)
    return found.chains if found.tokens else ()


def _original(found: FoundFile, files: list[FoundFile]) -> str:
    """Return the name of a prediction's file with the same bytes as a file without a prediction; empty if none."""
    if found.parts.keys() & {*LABELS}:
        return ""
    size = found.path.stat().st_size
    alike = (each for each in files if each.file is found.file and each.parts.keys() & {*LABELS})
    same = (each for each in alike if each.path.stat().st_size == size)
    return next((each.name for each in same if file_digest(each.path) == file_digest(found.path)), "")


def _within(path: str, *parts: str) -> str:
    group, _, rest = path.partition("/")
    return "/".join((group, *(part for part in parts if part), rest))


def _fits_schema(path: str, array: ForeignArray) -> bool:
    """Return whether an array may have a path; False if the schema defines the path with other axes."""
    try:
        tensor(path, array.shape, array.dtype)
    except SchemaError:
        return False
    return True


def _is_path(path: str) -> bool:
    try:
        validate_path(path)
    except SchemaError:
        return False
    return True


def _fitted(
    array: ForeignArray, place: TensorPlace, origin: str, batched: bool
) -> tuple[ForeignArray, tuple[str, ...] | None]:
    """Return an array and the axes of its place; None for the axes if the array has another number of them.

    A batch axis of length one is removed. A list of one value becomes a number, because some writers store scores so.
    """
    shape = array.shape
    if (axes := place.axes_of(shape)) is not None:
        return array, axes
    if () in place.forms and prod(shape) == 1:
        return array.reshaped(()), ()
    if not batched or (axes := place.axes_of(shape[1:])) is None:
        return array, None
    if shape[0] != 1:
        raise SourceError(f"{origin} is of a batch of {shape[0]}, where a trace is of one; save them apart.")
    return array.reshaped(shape[1:]), axes
