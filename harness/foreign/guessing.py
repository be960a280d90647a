"""What the arrays of a file that follows no schema are: roles and axes, guessed from names and shapes, or as told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.errors import UsageError, unknown_name
from harness.foreign.source import ForeignArray
from harness.trace.rules import spec_at
from harness.trace.schema import Role, SchemaError, TensorSpec, tensor

SKIP = "skip"
"""In place of a role: leave the arrays out."""

_LEAST = 5
"""The shortest axes that are taken for residues or tokens: rotations and frames have 3 or 4."""

_ATTENTION = re.compile(r"att(e)?n", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class MapRule:
    """What a person says of the arrays whose names fit a pattern.

    Attributes
    ----------
    pattern : str
        As a shell's, such as ``attn*``.
    role : Role or None
        None to leave them out.
    axes : tuple of str
        Names of their axes; empty for as many numbered ones as they have.
    """

    pattern: str
    role: Role | None
    axes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.pattern}={self.role or SKIP}{':' if self.axes else ''}{','.join(self.axes)}"


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What an array is taken for.

    Attributes
    ----------
    role : Role or None
        None where it is left out.
    axes : tuple of str
        The name of each of its axes.
    why : str
        What that was taken from.
    """

    role: Role | None
    axes: tuple[str, ...]
    why: str


def parse_rule(text: str) -> MapRule:
    """Read ``PATTERN=ROLE[:AXIS,AXIS]``; UsageError where it is not of this form or the role is not known."""
    pattern, equals, what = text.rpartition("=")
    role, _, axes = what.partition(":")
    if not equals or not pattern:
        raise UsageError(f"--map takes PATTERN=ROLE:AXIS,AXIS such as 'attn*=attention:head,query,key', got {text!r}.")
    if role not in (SKIP, *Role):
        raise unknown_name("role", role, (*(known.value for known in Role), SKIP))
    if "::" in text:  # which parts files and rules of a trace's name: a rule of a stranger's would name a file
        raise UsageError(f"--map {text!r} has '::' in it: write the pattern with '?' in place of these.")
    names = tuple(axis.strip() for axis in axes.split(",")) if axes else ()
    if not all(names):
        raise UsageError(f"--map {text!r}: give each axis a name, separated by commas.")
    return MapRule(pattern=pattern, role=None if role == SKIP else Role(role), axes=names)


def guess(arrays: Mapping[str, ForeignArray], rules: Sequence[MapRule] = ()) -> dict[str, Guess]:
    """Say what each array is.

    Parameters
    ----------
    arrays : mapping of str to ForeignArray
        By name.
    rules : sequence of MapRule
        What a person says; the first that fits a name decides.

    Returns
    -------
    dict of str to Guess
        Of every array, in the same order.

    Raises
    ------
    UsageError
        Where a rule fits no name, or names another number of axes than an array has.
    """
    for rule in rules:
        if not any(fnmatchcase(name, rule.pattern) for name in arrays):
            raise unknown_name("array", rule.pattern, arrays)
    told = {name: next((r for r in rules if fnmatchcase(name, r.pattern)), None) for name in arrays}
    known = {name: _by_schema(name, array, arrays.keys()) for name, array in arrays.items() if told[name] is None}
    free = {name: array for name, array in arrays.items() if name in known and known[name] is None}
    lengths = _lengths(array.shape for array in free.values())
    layers = _layers(free.values(), lengths)
    found = {}
    for name, array in arrays.items():
        if (mine := told[name]) is not None:
            found[name] = _as_told(name, array, mine)
        elif (spec := known[name]) is not None:
            found[name] = Guess(role=spec.role, axes=spec.axes, why="the schema's name")
        else:
            found[name] = _by_shape(name, array, lengths, layers)
    return found


def _as_told(name: str, array: ForeignArray, rule: MapRule) -> Guess:
    axes = rule.axes or array.axes or _numbered(array.shape)
    if rule.role is not None and len(axes) != len(array.shape):
        has = f"{name} has {len(array.shape)}: {array.shape}"
        raise UsageError(f"--map {str(rule)!r} names {len(axes)} axes, and {has}.")
    return Guess(role=rule.role, axes=axes, why="as told")


def _by_schema(name: str, array: ForeignArray, names: Collection[str]) -> TensorSpec | None:
    """Return what the schema, or an extension of it, says of a name; None for nothing, or for other axes."""
    if array.axes:
        return None
    try:
        spec = spec_at(name, array.shape, array.dtype, names) or tensor(name, array.shape, array.dtype)
    except SchemaError:
        return None
    return None if spec.axes == _numbered(array.shape) else spec


def _lengths(shapes: Iterable[tuple[int, ...]]) -> Counter[int]:
    """Count the extents of square axes, the last two or those before the last: residues or tokens."""
    counts: Counter[int] = Counter()
    for shape in shapes:
        square = {shape[-1]} if len(shape) > 1 and shape[-1] == shape[-2] else set()
        square |= {shape[-2]} if len(shape) in (3, 4) and shape[-3] == shape[-2] else set()
        counts.update(n for n in square if n >= _LEAST)
    return counts


def _layers(arrays: Collection[ForeignArray], lengths: Collection[int]) -> int | None:
    """Return the extent of first axes that are layers: shared by arrays of three axes and more, and no length."""
    deep = [array.shape for array in arrays if len(array.shape) > 2]
    counts = Counter(shape[0] for shape in deep if shape[0] not in lengths)
    square = {shape[0] for shape in deep if shape[-1] == shape[-2] in lengths and len(shape) == 3}
    shared = [n for n, count in counts.most_common(1) if count > 1 and n not in square]
    return shared[0] if shared else None


def _by_shape(name: str, array: ForeignArray, lengths: Counter[int], layers: int | None) -> Guess:
    shape, count = array.shape, len(array.shape)
    usual = lengths.most_common(1)[0][0] if lengths else None
    if count > 2 and shape[-1] == shape[-2] and shape[-1] in lengths and not shape[0] == shape[1] == shape[2]:
        role, axes, why = Role.ATTENTION, (*_lead(shape[:-3]), "head", "query", "key"), "square last axes"
    elif count == 2 and shape[0] == shape[1] and shape[0] in lengths:
        attention = bool(_ATTENTION.search(name))
        role, axes = (Role.ATTENTION, ("query", "key")) if attention else (Role.PAIR, ("token", "token"))
        why = "square, and its name" if attention else "square"
    elif count in (3, 4) and shape[-3] == shape[-2] and shape[-2] in lengths:
        role, axes, why = Role.PAIR, (*_lead(shape[:-3]), "token", "token", "channel"), "square axes with channels"
    else:
        return _plain(array, lengths, layers)
    if (length := shape[axes.index("token") if "token" in axes else -1]) != usual:
        return Guess(role=Role.ARRAY, axes=array.axes or _numbered(shape), why=f"{length} is not the others' {usual}")
    return Guess(role=role, axes=array.axes or axes, why=why)


def _lead(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Name the axes before those that are known: the first is of layers."""
    return ("layer", *(f"axis_{k}" for k in range(1, len(shape)))) if shape else ()


def _plain(array: ForeignArray, lengths: Collection[int], layers: int | None) -> Guess:
    if array.axes:
        return Guess(role=Role.ARRAY, axes=array.axes, why="the file's names of axes")
    shape, axes, why = array.shape, list(_numbered(array.shape)), "its shape"
    for axis, extent in enumerate(shape):
        if extent in lengths and "token" not in axes:
            axes[axis], why = "token", "an axis shared with square ones"
    if len(shape) > 2 and shape[0] == layers:
        axes[0], why = "layer", "a first axis that others share"
    if len(shape) > 1 and "token" in axes and axes[-1] != "token":
        axes[-1] = "channel"
    return Guess(role=Role.ARRAY, axes=tuple(axes), why=why)


def _numbered(shape: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"axis_{k}" for k in range(len(shape)))
