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
from harness.foreign.containers import TORCH_BEFORE_ZIP, natural
from harness.foreign.packed import plain_file_name
from harness.foreign.source import Gathering

LABELS = ("rank", "model", "seed", "sample")
"""What names of files say of the prediction that they are of."""

_HEAD = 4096  # bytes in which the first key of a JSON is looked for
_FIRST = re.compile(rb'\s*(?:\[?\s*\{\s*"([^"\\]*)"|(\w+),)')  # of JSON, or of a table with a line of names
_CONTAINERS = (b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", TORCH_BEFORE_ZIP)
"""How files begin that a library reads as a container of arrays, whatever they are called."""

_OTHERS = (
    (r".*\.(cif|pdb|mmcif)(\.\w+)?", "structures, as text"),
    (r".*\.(a3m|sto|fasta|fa)", "sequences, as text"),
    (r".*\.(png|svg|pdf|html)", "pictures"),
    (r".*\.(md|txt|log|bibtex|csv|tsv|yaml)", "text"),
)


class TensorPlace(NamedTuple):
    """Where an array goes in a trace, and its axes: one form for each number of them; empty where none are known."""

    path: str
    forms: tuple[tuple[str, ...], ...] = ()

    def axes_of(self, shape: tuple[int, ...]) -> tuple[str, ...] | None:
        """Return the axes of an array; None where none are known for as many as it has."""
        return next((axes for axes in self.forms if len(axes) == len(shape)), None)


def places(*rows: tuple[str, str, str]) -> dict[str, TensorPlace]:
    """Make a table of rows: a path, its axes, and the names that lead there, with spaces between.

    A name may be in several rows, with another number of axes in each.
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
    # Whether it is read whole, values and all; it is then read again for them, so that one file is held at a time. Only
    # such a file may be packed.
    whole: bool = True
    batched: bool = False  # Whether its arrays have a first axis for a batch, of one.
    # The array with one value or row for each residue, where other files of the prediction may have padded ones.
    counts: str = ""
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
        if match and (file.whole if plain != name else _is_content(file, path)):
            return FoundFile(name, path, file, {part: text for part, text in match.groupdict().items() if text})
    return None


def is_container(path: Path) -> bool:
    """Say whether a file is a container of arrays by how it begins, and so neither a pickle nor a text."""
    with open_regular(path) as handle:
        return handle.read(max(map(len, _CONTAINERS))).startswith(_CONTAINERS)


def _is_content(file: OutputFile, path: Path) -> bool:
    """Say whether a file holds what those of a kind do; also one that is damaged, for reading it says so."""
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
    """Say whether an array has the axes of its place, and those of one name one length."""
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
