"""A folder of archives, each of one protein, as one corpus; damaged archives are named and left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.errors import HarnessError, MachineError
from harness.extensions.corpus.source import PROTEIN_AXES
from harness.foreign.opening import is_archive, plain_paths
from harness.foreign.source import ForeignArray, Gathering, ImportedTrace, Importer, SourceError
from harness.formats.archive_trace import ArchiveTrace, open_archived
from harness.formats.journal import has_journal
from harness.formats.seal import read_seal
from harness.trace.schema import TensorSpec

_KIND = "archives"
_POSITIONS = ("residue", "token", "position")
_LAYER = re.compile(r"(?<![^/])layer_\d+(?![^/])")
_LAYER_NAME = re.compile(r"(?:layer|step)_\d+")


class _Kind(NamedTuple):
    """Properties that must be equal for rows of several proteins to be rows of one layer."""

    path: str
    width: int
    dtype: str


def _recognises(path: Path) -> bool:
    """Return whether a folder holds two archives of this harness or more; one alone is read as an archive."""
    if not path.is_dir():
        return False
    sealed = 0
    for part in _parts(path):
        try:
            sealed += bool(read_seal(part))
        except OSError:
            continue
        if sealed == 2:
            return True
    return False


def _parts(path: Path) -> Iterator[Path]:
    return (part for part in sorted(path.iterdir()) if not part.name.startswith("."))


def _read(path: Path) -> ImportedTrace:
    gathering = Gathering(path, _KIND)
    found: dict[Path, ArchiveTrace] = {}
    damaged: list[str] = []
    others: list[str] = []
    links: list[str] = []
    for part in _parts(path):
        if part.is_symlink():
            links.append(part.name)
            continue
        try:
            found[part] = open_archived(part)
        except MachineError:
            raise
        except HarnessError:
            (damaged if _was_archive(part) else others).append(part.name)
    layers = {part: _layers(trace) for part, trace in found.items()}
    counted = Counter(kind for kinds in layers.values() for kind in kinds)
    if not counted:
        raise SourceError(f"{path} holds no archive that can be read and has a layer of one row for each residue.")
    kind = max(sorted(counted), key=lambda kind: counted[kind])
    taken = {part: kinds[kind] for part, kinds in layers.items() if kind in kinds}
    names = plain_paths(_name(part) for part in taken)
    for part, specs in taken.items():
        gathering.file(part)
        for spec in specs:
            gathering.add(
                f"{names[_name(part)]}/layer_{spec.layer}", _array(found[part], spec), f"{part}: {spec.path}",
                axes=PROTEIN_AXES, role=spec.role,
            )  # fmt: skip
    gathering.notes.append(f"{kind.path} of {len(taken)} archives")
    gathering.leave_out(damaged, "damaged: 'harness verify' says how")
    gathering.leave_out(
        (part.name for part in found if part not in taken), f"without {kind.path} of that width and type"
    )
    gathering.leave_out(others, "not recognised as archives")
    gathering.leave_out(links, "links, which are not followed")
    return gathering.trace()


def _was_archive(path: Path) -> bool:
    return has_journal(path) or bool(read_seal(path)) or is_archive(path)


def _name(part: Path) -> str:
    """Return the group of a protein; a name in the form of a layer's gets the prefix ``_``."""
    return f"proteins/{'_' * bool(_LAYER_NAME.fullmatch(part.name))}{part.name}"


def _layers(trace: ArchiveTrace) -> dict[_Kind, list[TensorSpec]]:
    """Return the layers with one row for each residue, by their path without the layer, their width and their type."""
    found: dict[_Kind, list[TensorSpec]] = {}
    for spec in trace.manifest.tensors:
        rows = len(spec.axes) == 2 and spec.axes[0] in _POSITIONS and spec.axes[1] == "channel"
        if rows and spec.layer is not None and spec.items:
            kind = _Kind(_LAYER.sub("layer_#", spec.path), spec.shape[1], spec.values or spec.dtype)
            found.setdefault(kind, []).append(spec)
    return found


def _array(trace: ArchiveTrace, spec: TensorSpec) -> ForeignArray:
    rows: Callable[[], Iterator[np.ndarray]] = lambda: trace.blocks(spec.path)  # noqa: E731 - which has a type
    return ForeignArray(spec.shape, spec.values or spec.dtype, lambda: None, rows)


importer = Importer(
    name=_KIND,
    description="a folder of archives, each of one protein, as a corpus of their layers of residues",
    recognises=_recognises,
    read=_read,
)
