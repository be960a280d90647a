"""Manifest of a slimmed directory: for each file, its present location, its precision, and how to restore it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NotRequired, TypedDict

import msgspec

import harness
from harness.documents import Count, Digest, DocumentError, read_document
from harness.errors import HarnessError
from harness.extensions.result_directories.disk import is_plain_file, is_safe_name, write_whole

NAME = "slim-manifest.json"
VERSION = 1
EXACT = "bit for bit"

Kind = Literal["af2", "af3", "openfold3"]
Mode = Literal["slim", "minimal"]
Plain = Literal["best", "none"]

KINDS: dict[Kind, str] = {"af2": "AlphaFold2", "af3": "AlphaFold3", "openfold3": "OpenFold3"}
"""Programs that write result directories, by their name in manifests."""

_MEND = "nothing was changed"
_SHOWN = 80


class Content(TypedDict):
    """A file: its size in bytes, its SHA-256, and the size of its unpacked content if precision was given up."""

    size: Count
    sha256: Digest
    gives: NotRequired[Count]


class TouchedArray(TypedDict):
    """Record of an array whose precision was given up."""

    path: str
    fate: Literal["dropped", "rounded"]
    dtype: NotRequired[str]
    shape: NotRequired[list[int]]
    step: NotRequired[float]
    bound: NotRequired[float]
    largest_error: NotRequired[float]
    recompute: NotRequired[str]


@dataclass(frozen=True)
class FileEntry:
    """Record of one file."""

    # "kept": the file is unchanged. "packed": it is in the file `survives_in`. "copy": it was removed, and the file
    # `survives_in` has the same bytes.
    fate: Literal["kept", "packed", "copy"]
    # "begun": the file `survives_in` may be missing or incomplete, and the original still exists. "done": finished.
    state: Literal["begun", "done"]
    survives_in: str  # Relative to the directory.
    precision: str  # `EXACT`, or a description of the loss.
    why: str  # Reason for this fate.
    # Of the original and of the file `survives_in`; a kept file and a copy have no `after`.
    before: Content
    after: Content | None = None
    # Permissions and modification time of the original, restored with it.
    mode: Annotated[int, msgspec.Meta(ge=0, le=0o7777)] = 0o644
    mtime_ns: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] = 0
    arrays: tuple[TouchedArray, ...] = ()  # Arrays whose precision was given up.

    @property
    def written(self) -> str:
        """SHA-256 of the packed file; empty if there is none."""
        return self.after["sha256"] if self.after else ""

    @property
    def gives(self) -> int | None:
        """Bytes of the unpacked content of `survives_in`; None if an earlier version gave up precision."""
        if self.after is not None and "gives" in self.after:
            return self.after["gives"]
        return self.before["size"] if self.precision == EXACT else None

    @property
    def largest_errors(self) -> dict[str, float]:
        """The largest error of each array that was rounded."""
        errors: dict[str, float] = {}
        for array in self.arrays:
            if "largest_error" in array:
                errors[array["path"]] = max(errors.get(array["path"], 0.0), array["largest_error"])
        return errors

    @property
    def dropped(self) -> list[str]:
        """The arrays that were dropped."""
        return [array["path"] for array in self.arrays if array["fate"] == "dropped"]


@dataclass
class SlimManifest:
    """The manifest of one directory."""

    kind: Kind  # Program that wrote the directory: "af2", "af3", "openfold3".
    mode: Mode  # "slim": lossless. "minimal": declared lossy.
    bound: float | None  # The largest error allowed, in the unit of the values; None for slim.
    # "best": files stay readable by tools, and those of the best prediction stay unchanged. "none": no such condition.
    plain: Plain
    best: tuple[str, ...] = ()  # The best predictions; several if they tie.
    items: dict[str, FileEntry] = field(default_factory=dict)  # `FileEntry` by path, relative to the directory.

    def text(self) -> str:
        """Return the text of the manifest's file."""
        facts = dataclasses.asdict(self)
        facts["items"] = dict(sorted(facts["items"].items()))
        return json.dumps({"slim_manifest": VERSION, "harness": harness.__version__, **facts}, indent=1) + "\n"

    def save(self, folder: Path) -> None:
        """Write the manifest atomically, unless the file already has this text."""
        path, text = folder / NAME, self.text()
        if not (path.is_file() and path.read_text() == text):
            write_whole(path, text.encode())


def load_manifest(folder: Path) -> SlimManifest | None:
    """Read the manifest of a directory.

    Parameters
    ----------
    folder : Path
        The directory.

    Returns
    -------
    SlimManifest or None
        None if the directory has none.

    Raises
    ------
    HarnessError
        If it is damaged, was written by a newer version, or names a file outside of the directory.
    """
    path = folder / NAME
    if not is_plain_file(path):
        if path.is_symlink() or path.exists():
            raise HarnessError(f"{path} is not a regular file, so no manifest can be written there; rename it.")
        return None
    found = read_document(path, SlimManifest, version=("slim_manifest", VERSION), mend=_MEND, extra=True)
    for name, item in found.items.items():
        _check(folder, name, item)
        original = found.items.get(item.survives_in)
        if item.fate == "copy" and original is not None and original.fate == "copy":
            raise _damaged(folder, f"{name} is a copy of a copy")
    return found


def _damaged(folder: Path, what: str) -> HarnessError:
    return DocumentError(f"{folder / NAME} is damaged: {what}; {_MEND}.")


def _check(folder: Path, name: str, item: FileEntry) -> None:
    inside(folder, name)
    inside(folder, item.survives_in)
    fits = {
        "kept": item.survives_in == name,
        # After restoring, only a file that packing can make may be removed.
        "packed": item.survives_in in (f"{name}.slim", f"{name}.xz") and item.after is not None,
        "copy": item.survives_in != name,
    }
    if not fits[item.fate] or any(a["fate"] == "rounded" and "largest_error" not in a for a in item.arrays):
        raise _damaged(folder, f"its entry for {name} is inconsistent")


def inside(folder: Path, name: str) -> Path:
    """Return the path of an item, which must be inside the directory and not behind a link.

    Raises
    ------
    HarnessError
        If it is not.
    """
    relative = PurePosixPath(name)
    parents = [folder.joinpath(*relative.parts[:count]) for count in range(1, len(relative.parts))]
    fits = is_safe_name(name) and str(relative) == name and not relative.is_absolute() and ".." not in relative.parts
    if not fits or name in (NAME, ".") or any(parent.is_symlink() for parent in parents):
        shown = repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "...")
        raise _damaged(folder, f"it names {shown}, which is not a file of the directory that can be slimmed")
    return folder / relative
