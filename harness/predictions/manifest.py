"""The manifest of a slimmed directory: for each item where it survives, at what precision, and how to undo it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import harness
from harness.errors import HarnessError
from harness.predictions.disk import is_plain_file, write_whole

NAME = "slim-manifest.json"
VERSION = 1
EXACT = "bit for bit"
KINDS = {"af2": "AlphaFold2", "af3": "AlphaFold3", "openfold3": "OpenFold3"}
"""What makes result directories, by the name that manifests give it."""


@dataclass(frozen=True)
class Entry:
    """What became of one file.

    Attributes
    ----------
    fate : {"kept", "packed", "copy"}
        Kept: it is there as it was. Packed: it is in the file `survives_in`. Copy: the file `survives_in` has the same
        bytes.
    state : {"begun", "done"}
        Begun: the file `survives_in` may be there and may not be whole; the original is still there.
    survives_in : str
        Relative to the directory.
    precision : str
        `EXACT`, or what was given up.
    why : str
        Why it has this fate.
    before, after : dict
        ``size`` in bytes and ``sha256``, of the original and of the file `survives_in`; a kept file and a copy have no
        `after` of their own.
    mode, mtime_ns : int
        Of the original, restored with it.
    arrays : tuple of dict
        Where precision was given up: for each array touched its ``path``, ``fate``, ``largest_error`` or ``recompute``.
    """

    fate: str
    state: str
    survives_in: str
    precision: str
    why: str
    before: dict[str, Any]
    after: dict[str, Any] | None = None
    mode: int = 0o644
    mtime_ns: int = 0
    arrays: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class SlimManifest:
    """The manifest of one directory.

    Attributes
    ----------
    kind : {"af2", "af3", "openfold3"}
        What made the directory.
    mode : {"slim", "minimal"}
        Lossless, or declared lossy.
    bound : float or None
        The largest error allowed, in the unit of the values; None for slim.
    plain : {"best", "none"}
        Whether the files of the best prediction that tools read as they are stay as they are.
    best : tuple of str
        The best predictions; more than one when they tie.
    items : dict
        `Entry` by path, relative to the directory.
    """

    kind: str
    mode: str
    bound: float | None
    plain: str
    best: tuple[str, ...] = ()
    items: dict[str, Entry] = field(default_factory=dict)

    def with_entry(self, path: str, entry: Entry) -> SlimManifest:
        """Return a manifest in which a file has this entry."""
        return dataclasses.replace(self, items={**self.items, path: entry})

    def without(self, path: str) -> SlimManifest:
        """Return a manifest that says nothing of a file."""
        return dataclasses.replace(self, items={name: item for name, item in self.items.items() if name != path})

    def text(self) -> str:
        """Return the manifest as its file holds it."""
        facts = dataclasses.asdict(self)
        facts["items"] = dict(sorted(facts["items"].items()))
        return json.dumps({"slim_manifest": VERSION, "harness": harness.__version__, **facts}, indent=1) + "\n"

    def save(self, folder: Path) -> None:
        """Write the manifest, whole or not at all; one that says the same is not written again."""
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
        None when the directory has none.

    Raises
    ------
    HarnessError
        When it is damaged, was written by a newer version, or names a file outside of the directory.
    """
    path = folder / NAME
    if not is_plain_file(path):
        if path.is_symlink() or path.exists():
            raise HarnessError(f"{path} is no plain file, so no manifest can lie there; rename it.")
        return None
    try:
        facts = json.loads(path.read_text())
        version = facts.pop("slim_manifest")
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"its version is {version!r}")
        if version > VERSION:
            by = facts.get("harness")
            raise HarnessError(
                f"{path} was written by a newer version (harness {by}, manifest {version}; this one knows {VERSION}): "
                "update the harness."
            )
        facts.pop("harness")
        items = {name: Entry(**{**item, "arrays": tuple(item["arrays"])}) for name, item in facts.pop("items").items()}
        for name, item in items.items():
            _check(folder, name, item)
            original = items.get(item.survives_in)
            if item.fate == "copy" and original is not None and original.fate == "copy":
                raise ValueError(f"{name} is a copy of a copy")
        if facts["kind"] not in KINDS or not isinstance(facts["bound"], (float, int, type(None))):
            raise ValueError("it names a kind or a bound that there is not")
        found = SlimManifest(**{**facts, "best": tuple(facts["best"])}, items=items)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HarnessError(f"{path} is damaged ({type(error).__name__}: {error}); nothing was changed.") from error
    return found


def _check(folder: Path, name: str, item: Entry) -> None:
    inside(folder, name)
    inside(folder, item.survives_in)
    fits = {
        "kept": item.survives_in == name,
        # What is removed after restoring can only be a file that packing makes.
        "packed": item.survives_in in (f"{name}.slim", f"{name}.xz") and item.after is not None,
        "copy": item.survives_in != name,
    }
    stated = [facts for facts in (item.before, item.after) if facts is not None]
    numbers = [item.mode, item.mtime_ns, *(facts["size"] for facts in stated)]
    texts = [item.state, item.precision, item.why, *(facts["sha256"] for facts in stated)]
    texts += [array[key] for array in item.arrays for key in ("path", "fate")]
    errors = [array["largest_error"] for array in item.arrays if array["fate"] == "rounded"]
    if not (
        fits.get(item.fate)
        and all(isinstance(number, int) for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(error, float | int) for error in errors)
    ):
        raise ValueError(f"what it says of {name} does not fit together")


def inside(folder: Path, name: str) -> Path:
    """Return the path of an item, which has to lie in the directory itself and not behind a link.

    Raises
    ------
    HarnessError
        When it does not.
    """
    relative = PurePosixPath(name)
    path = folder / relative
    parents = [folder.joinpath(*relative.parts[:count]) for count in range(1, len(relative.parts))]
    if relative.is_absolute() or ".." in relative.parts or not name or any(parent.is_symlink() for parent in parents):
        raise HarnessError(f"{folder / NAME} names {name!r}, which is not in the directory; nothing was changed.")
    return path
