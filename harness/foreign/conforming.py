"""Check of an archive against the archive specification, whichever library wrote it: ``verify --schema``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.foreign.containers import is_archive, list_arrays, natural
from harness.foreign.opening import require
from harness.foreign.source import ForeignArray, Gathering, SourceError
from harness.formats.archive_trace import open_archived
from harness.trace.rules import ArchiveRules, Place, installed
from harness.trace.schema import TensorSpec, tensor
from harness.trace.stream import Trace


def schema_problems(path: Path) -> list[str]:
    """Check names, axes and tables of an archive, and the relations between its tensors.

    Parameters
    ----------
    path : Path
        An archive of this harness, or any file or folder of arrays, such as one that h5py or zarr-python wrote. The
        latter keeps the axes that it names; axes without a name are those of the specification.

    Returns
    -------
    list of str
        A sentence for each violated rule, with path and expectation; empty if the archive conforms.

    Raises
    ------
    UsageError, ArchiveError, SourceError
        If nothing can be read at the path.
    """
    require(path)
    rules = installed()
    if is_archive(path):
        trace: Trace = open_archived(path)
        places = _Places(rules, {spec.path for spec in trace.manifest.tensors})
        problems = [said for spec in trace.manifest.tensors if (said := places.misplaced(spec))]
    else:
        found, problems = _gathered(path, rules)
        if found is None:
            return problems
        trace = found
    return [*problems, *(said for rule in rules for said in rule.check(trace))]


@dataclass(frozen=True)
class _Places:
    """Places that extensions define in an archive, given the paths of all its tensors."""

    rules: list[ArchiveRules]
    paths: Collection[str]

    def of(self, path: str) -> Place | None:
        """Return the place of a tensor; None if no extension defines it."""
        return next((place for rule in self.rules if (place := rule.place(path, self.paths)) is not None), None)

    def misplaced(self, spec: TensorSpec) -> str:
        """Return the problem with the axes of a tensor; empty if there is none, or no extension restricts them."""
        place = self.of(spec.path)
        if place is None or not place[1] or spec.axes in place[1]:
            return ""
        return f"{spec.path}: expected axes {_either(place)}, got ({', '.join(spec.axes)}) with shape {spec.shape}."


def _either(place: Place) -> str:
    return " or ".join(f"({', '.join(names)})" for names in place[1])


def _gathered(path: Path, rules: list[ArchiveRules]) -> tuple[Trace | None, list[str]]:
    """Return a trace of the arrays that fit their places in the specification, or None, and all problems."""
    arrays = list_arrays((path,))
    problems = [f"{name}: expected numbers, found {why}." for name, why in arrays.left_out.items()]
    gathering = Gathering(path, "arrays")
    for file in dict.fromkeys(arrays.files):
        gathering.file(file)
    gathering.notes += arrays.notes
    places, fitting = _Places(rules, arrays.found.keys()), 0
    for name in sorted(arrays.found, key=natural):  # as written by a program that writes the steps in order
        array = arrays.found[name]
        said = _unfit(name, array, places, gathering)
        fitting += not said
        problems += [said] if said else []
    if not fitting:
        return None, problems
    try:
        return gathering.trace(), problems
    except SourceError as error:
        return None, [*problems, str(error).removeprefix(f"{path}: ")]


def _unfit(name: str, array: ForeignArray, places: _Places, gathering: Gathering) -> str:
    """Add an array to a trace; return the problem if it does not fit, else an empty string."""
    place = places.of(name)
    axes = array.axes
    if place is not None and not axes:
        axes = next((names for names in place[1] if len(names) == len(array.shape)), ())
        if not axes and array.shape:
            return f"{name}: expected axes {_either(place)}, got {len(array.shape)} axes of shape {array.shape}."
    try:
        spec = tensor(name, array.shape, array.dtype, axes=axes or None, role=place[0] if place else None)
        if said := places.misplaced(spec):
            return said
        if spec.shape and not axes and spec.axes[0] == "axis_0":
            return (
                f"{name}: the specification has no such tensor, so its axes need names: dimension_names of Zarr, or "
                "dimension scales of HDF5."
            )
        gathering.add(name, array, name, axes=axes or None, role=spec.role)
    except HarnessError as error:
        return str(error)
    return ""
