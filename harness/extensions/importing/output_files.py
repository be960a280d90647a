"""Which files of a folder are a program's: known by name and by content, with the prediction that each is of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.extensions.importing.file_contents import FileContent
from harness.extensions.importing.structures import POSITIONS, read_cif
from harness.files import open_regular, plain_name
from harness.foreign.containers import natural
from harness.foreign.packed import plain_file_name
from harness.foreign.source import Gathering

LABELS = ("rank", "model", "seed", "sample")
"""What names of files say of the prediction that they are of."""

_HEAD = 4096  # bytes in which the first key of a JSON is looked for
_FIRST = re.compile(rb'\s*(?:\[?\s*\{\s*"([^"\\]*)"|(\w+),)')  # of JSON, or of a table with a line of names

_OTHERS = (
    (r".*\.(cif|pdb|mmcif)(\.\w+)?", "structures, as text"),
    (r".*\.(a3m|sto|fasta|fa)", "sequences, as text"),
    (r".*\.(png|svg|pdf|html)", "pictures"),
    (r".*\.(md|txt|log|bibtex|csv|tsv|yaml)", "text"),
)


class TensorPlace(NamedTuple):
    """Where an array goes in a trace, and its axes; None where they are not known."""

    path: str
    axes: tuple[str, ...] | None


def places(*rows: tuple[str, str, str]) -> dict[str, TensorPlace]:
    """Make a table of rows: a path, its axes, and the names that lead there, with spaces between."""
    return {name: TensorPlace(path, tuple(axes.split())) for path, axes, names in rows for name in names.split()}


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """Files of one kind that a program writes."""

    # What they are: the part of a path that tells an array from one of the same name in a file of another kind.
    kind: str
    # A regular expression for their names within the folder, without what says how they are packed. Its groups
    # ``rank``, ``model``, ``seed`` and ``sample`` say of which prediction they are, ``job`` of which job.
    pattern: str
    read: Callable[[Path], FileContent]  # Takes the path and gives what is in it.
    places: Mapping[str, TensorPlace]  # By the names in the file; others go to `group`.
    # The first keys of such a JSON or table, for names that others use too; empty where the name is enough. A file that
    # is not read whole is known by the names and axes of its arrays.
    first: frozenset[str] = frozenset()
    # Whether it is read whole, values and all; it is then read again for them, so that one file is held at a time.
    whole: bool = True
    batched: bool = False  # Whether its arrays have a first axis for a batch, of one.
    group: str = "outputs"  # Where arrays go that have no place.
    tells: bool = True  # Whether such a file says that a folder is of the program; not one whose name others give too.


TokenNames = tuple[tuple[str, str], ...]
"""Chain and residue number of each token."""


def structure_file(pattern: str) -> OutputFile:
    """Return what a program's mmCIF files are, by the pattern of their names."""
    rows = (("structure/atom_positions", "atom xyz", POSITIONS),)
    return OutputFile(
        kind="structure", pattern=pattern, read=read_cif, places=places(*rows), group="structure", tells=False
    )


def _no_tokens(_: Mapping[str, set[Any]]) -> tuple[TokenNames, ...]:
    return ()


def _no_facts(_: Gathering) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class OutputProgram:
    """A program whose outputs are imported."""

    # That of its importer, and that for people.
    name: str
    title: str
    # The first that fits a name counts; of two arrays for one place, that of the earlier has it.
    files: tuple[OutputFile, ...]
    folders: str = r"(?!)"  # A regular expression for the names of folders within the folder that are looked into.
    # Regular expressions for names of files that hold no array, and what they are; empty for what `facts` reads.
    others: tuple[tuple[str, str], ...] = ()
    # Takes what is gathered of a folder and gives fields of `harness.trace.manifest.Metadata`.
    facts: Callable[[Gathering], dict[str, Any]] = _no_facts
    # Takes all facts of the files and gives what they say the tokens are, one for each that differs.
    tokens: Callable[[Mapping[str, set[Any]]], Iterable[TokenNames]] = _no_tokens


@dataclass(frozen=True)
class FoundFile:
    """A file of a program: its name within the folder, and what its name says of the prediction."""

    name: str
    path: Path
    file: OutputFile
    parts: dict[str, str]

    def label(self, varying: set[str]) -> str:
        """Name the prediction by what tells it from the others of its folder; empty where there is only one."""
        named = ((part, self.parts.get(part, "")) for part in LABELS if part in varying)
        return "_".join(f"{part}_{int(n)}" if n.isdecimal() else plain_name(n) for part, n in named if n)


class OtherFile(NamedTuple):
    """A file or folder that is none of a program's, and why."""

    name: str
    why: str


def look(program: OutputProgram, path: Path) -> Iterator[FoundFile | OtherFile]:
    """Yield the files of a source in natural order; of any JSON whose name is not enough, the first bytes are read."""
    if not path.is_dir():
        yield _known(program, path.name, path) or OtherFile(path.name, f"nothing of {program.title}")
        return
    for entry in _sorted(path):
        inside = entry.is_dir() and re.fullmatch(program.folders, entry.name)
        if entry.is_dir() and not inside:
            yield OtherFile(f"{entry.name}/", "folders that are not looked into")
        for file in _sorted(entry) if inside else [entry]:
            if file.is_file():
                name = file.relative_to(path).as_posix()
                yield _known(program, name, file) or OtherFile(name, _why(program, name))


def recognises(program: OutputProgram, path: Path) -> bool:
    """Say whether a file is one of a program's, or a folder has one."""
    return any(isinstance(found, FoundFile) and found.file.tells for found in look(program, path))


def _sorted(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: natural(path.name))


def _known(program: OutputProgram, name: str, path: Path) -> FoundFile | None:
    plain = plain_file_name(name)
    for file in program.files:
        match = re.fullmatch(file.pattern, plain)
        # What is packed is not inflated for a look at its content.
        if match and (plain != name or _is_content(file, path)):
            return FoundFile(name, path, file, {part: text for part, text in match.groupdict().items() if text})
    return None


def _is_content(file: OutputFile, path: Path) -> bool:
    """Say whether a file holds what those of a kind do; also one that is damaged, for reading it says so."""
    if file.first:
        return _first_key(path) in file.first
    if file.whole:
        return True
    try:
        arrays = file.read(path).arrays
    except HarnessError:
        return True
    fitting = [_has_axes(array.shape, file, file.places[name]) for name, array in arrays.items() if name in file.places]
    return any(fitting) and all(fitting)


def _first_key(path: Path) -> str:
    with open_regular(path) as handle:
        found = _FIRST.match(handle.read(_HEAD))
    return (found[1] or found[2] or b"").decode("latin-1") if found else ""


def _has_axes(shape: tuple[int, ...], file: OutputFile, place: TensorPlace) -> bool:
    """Say whether an array has the axes of its place, and those of one name one length."""
    if place.axes is None:
        return True
    batch = len(shape) - len(place.axes)
    if batch not in (0, *((1,) if file.batched else ())):
        return False
    return len(set(zip(place.axes, shape[batch:], strict=True))) == len(set(place.axes))


def _why(program: OutputProgram, name: str) -> str:
    known = (why for pattern, why in (*program.others, *_OTHERS) if re.fullmatch(pattern, name))
    return next(known, f"nothing of {program.title}")
