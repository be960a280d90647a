"""Recognition of a program's output files by name and content, with the prediction that each belongs to."""

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
from harness.foreign.containers import TORCH_BEFORE_ZIP, natural
from harness.foreign.packed import plain_file_name
from harness.foreign.source import Gathering

LABELS = ("rank", "model", "seed", "sample")
"""Parts of file names that identify a prediction."""

_HEAD = 4096  # bytes in which the first key of a JSON must be
_FIRST = re.compile(rb'\s*(?:\[?\s*\{\s*"([^"\\]*)"|(\w+),)')  # first key of JSON, or of a table with a header line
_CONTAINERS = (b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", TORCH_BEFORE_ZIP)
"""First bytes of files that a library reads as a container of arrays, whatever their name."""

_OTHERS = (
    (r".*\.(cif|pdb|mmcif)(\.\w+)?", "structures, as text"),
    (r".*\.(a3m|sto|fasta|fa)", "sequences, as text"),
    (r".*\.(png|svg|pdf|html)", "pictures"),
    (r".*\.(md|txt|log|bibtex|csv|tsv|yaml)", "text"),
)


class TensorPlace(NamedTuple):
    """Path of an array in a trace, and its axes: one form for each number of axes; empty if no axes are known."""

    path: str
    forms: tuple[tuple[str, ...], ...] = ()

    def axes_of(self, shape: tuple[int, ...]) -> tuple[str, ...] | None:
        """Return the axes of an array with this shape; None if no form has as many."""
        return next((axes for axes in self.forms if len(axes) == len(shape)), None)


def places(*rows: tuple[str, str, str]) -> dict[str, TensorPlace]:
    """Return the places by array name, from rows of a path, its axes, and the array's names, separated by spaces.

    A name may be in several rows, each with a different number of axes.
    """
    found: dict[str, TensorPlace] = {}
    for path, axes, names in rows:
        for name in names.split():
            forms = found[name].forms if name in found else ()
            found[name] = TensorPlace(path, (*forms, tuple(axes.split())))
    return found


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """Files of one kind that a program writes."""

    # Name of the kind, used in a path to distinguish an array from one of the same name in a file of another kind.
    kind: str
    # Regular expression for the names within the folder, without suffixes of packing. Its groups ``rank``, ``model``,
    # ``seed`` and ``sample`` identify the prediction, ``job`` the job.
    pattern: str
    read: Callable[[Path], FileContent]  # Returns the content of the file at a path.
    places: Mapping[str, TensorPlace]  # By the names in the file; arrays without a place go to `group`.
    # Possible first keys of such a JSON or table, if other programs use the same file names; empty if the name is
    # enough. A file with `whole` False is recognised by the names and axes of its arrays.
    first: frozenset[str] = frozenset()
    # Whether `read` loads the complete file with all values. It is then read again when values are needed, so that one
    # file is held at a time. Only such a file may be packed.
    whole: bool = True
    batched: bool = False  # Whether its arrays have a leading batch axis of length one.
    # Array with one value or row for each residue; arrays in other files of the prediction may be padded.
    counts: str = ""
    group: str = "outputs"  # Group of arrays without a place.
    tells: bool = True  # Whether such a file identifies a folder as the program's; False if others use its name too.


TokenNames = tuple[tuple[str, str], ...]
"""Chain and residue number of each token."""


def structure_file(pattern: str) -> OutputFile:
    """Return the kind of a program's mmCIF files, with the pattern of their names."""
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

    # Name of the importer, and name of the program in messages.
    name: str
    title: str
    # The first kind that fits a file counts. If two arrays have one place, the array of the earlier kind gets it.
    files: tuple[OutputFile, ...]
    folders: str = r"(?!)"  # Regular expression for the names of subfolders that are searched.
    # Regular expressions for names of files without arrays, and what they are; empty for files that `facts` reads.
    others: tuple[tuple[str, str], ...] = ()
    # Returns fields of `harness.trace.manifest.Metadata` from what was gathered of a folder.
    facts: Callable[[Gathering], dict[str, Any]] = _no_facts
    # Yields the tokens that the facts of all files state, one item for each different statement.
    tokens: Callable[[Mapping[str, set[Any]]], Iterable[TokenNames]] = _no_tokens


@dataclass(frozen=True)
class FoundFile:
    """A file of a program: its name within the folder, and the parts of the name that identify the prediction."""

    name: str
    path: Path
    file: OutputFile
    parts: dict[str, str]

    def label(self, varying: set[str]) -> str:
        """Return the prediction's label from the parts that vary in its folder; empty if there is only one."""
        named = ((part, self.parts.get(part, "")) for part in LABELS if part in varying)
        return "_".join(f"{part}_{int(n)}" if n.isdecimal() else plain_name(n) for part, n in named if n)


class OtherFile(NamedTuple):
    """A file or folder that does not belong to a program, and the reason."""

    name: str
    why: str


def look(program: OutputProgram, path: Path) -> Iterator[FoundFile | OtherFile]:
    """Yield the files of a source in natural order, recognised by name and, where the name is not enough, content."""
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
    """Return whether a file belongs to a program, or a folder contains such a file."""
    return any(isinstance(found, FoundFile) and found.file.tells for found in look(program, path))


def _sorted(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: natural(path.name))


def _known(program: OutputProgram, name: str, path: Path) -> FoundFile | None:
    plain = plain_file_name(name)
    for file in program.files:
        match = re.fullmatch(file.pattern, plain)
        # A packed file is recognised by its name alone, because reading its content would inflate it.
        if match and (file.whole if plain != name else _is_content(file, path)):
            return FoundFile(name, path, file, {part: text for part, text in match.groupdict().items() if text})
    return None


def is_container(path: Path) -> bool:
    """Return whether a file is a container of arrays by its first bytes, so that it is neither a pickle nor a text."""
    with open_regular(path) as handle:
        return handle.read(max(map(len, _CONTAINERS))).startswith(_CONTAINERS)


def _is_content(file: OutputFile, path: Path) -> bool:
    """Return whether the content of a file fits a kind; True for damaged files, so that reading reports the damage."""
    if file.first:
        return _first_key(path) in file.first
    if file.whole:
        return not is_container(path)
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
    """Return whether an array has the axes of its place, with equal lengths of axes of the same name."""
    axes = place.axes_of(shape)
    if axes is None and file.batched:
        shape = shape[1:]
        axes = place.axes_of(shape)
    return axes is not None and len(set(zip(axes, shape, strict=True))) == len(set(axes))


def _why(program: OutputProgram, name: str) -> str:
    if (plain := plain_file_name(name)) != name and any(re.fullmatch(file.pattern, plain) for file in program.files):
        return "packed: unpack it first"
    known = (why for pattern, why in (*program.others, *_OTHERS) if re.fullmatch(pattern, name))
    return next(known, f"nothing of {program.title}")
