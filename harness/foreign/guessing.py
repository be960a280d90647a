"""Roles and axes of arrays in files without the schema, guessed from names and shapes or given by rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from harness.errors import UsageError, unknown_name
from harness.foreign.naming import plain_path
from harness.foreign.source import ForeignArray
from harness.trace.rules import spec_at
from harness.trace.schema import Role, SchemaError, TensorSpec, tensor

SKIP = "skip"
"""Word in place of a role: leave the arrays out."""

_LEAST = 5
"""Minimum length of axes that are taken for residues or tokens: rotations and frames have 3 or 4."""

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_WEIGHTS = re.compile(r"\.(?:weight|bias)$")
"""Suffixes of names in a file of model weights, where the axes of square arrays are channels."""
_OF_A_LAYER = re.compile(r"(?:^|/)layer_\d+(?:/|$)")
IMAGES = ("inputs/images", "inputs/processed_image")
"""Paths of image inputs; without one of them, a first axis does not count images."""
_SQUARE = (Role.PAIR, Role.ATTENTION)


@dataclass(frozen=True, kw_only=True)
class MapRule:
    """User-given role and axes of the arrays whose names fit a pattern."""

    pattern: str  # A name, or a pattern as in a shell, such as ``attn*``.
    role: Role | None  # None to leave them out.
    axes: tuple[str, ...] = ()  # Names of their axes; empty for those of the file, or else numbered ones.

    def fits(self, name: str) -> bool:
        """Return whether the pattern is the array's name in the file or in an archive, or matches the former."""
        return self.pattern in (name, plain_path(name)) or fnmatchcase(name, self.pattern)

    def __str__(self) -> str:
        return f"{self.pattern}={self.role or SKIP}{':' if self.axes else ''}{','.join(self.axes)}"


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Role and axes assigned to an array."""

    role: Role | None  # None if it is left out.
    axes: tuple[str, ...]  # The name of each of its axes.
    why: str  # Reason for the role and axes.


def parse_rule(text: str) -> MapRule:
    """Parse ``PATTERN=ROLE[:AXIS,AXIS]``; raise `UsageError` for another form or an unknown role."""
    pattern, equals, what = text.rpartition("=")
    role, _, axes = what.partition(":")
    if not equals or not pattern:
        raise UsageError(f"--map takes PATTERN=ROLE:AXIS,AXIS such as 'attn*=attention:head,query,key', got {text!r}.")
    if role not in (SKIP, *Role):
        raise unknown_name("role", role, (*(known.value for known in Role), SKIP))
    if "::" in text:  # it separates files and rules in a trace's name, so a rule from others could name a file
        raise UsageError(f"--map {text!r} has '::' in it: write the pattern with '?' in place of these.")
    names = tuple(axis.strip() for axis in axes.split(",")) if axes else ()
    if not all(names):
        raise UsageError(f"--map {text!r}: give each axis a name, separated by commas.")
    return MapRule(pattern=pattern, role=None if role == SKIP else Role(role), axes=names)


def guess(arrays: Mapping[str, ForeignArray], rules: Sequence[MapRule] = ()) -> dict[str, Guess]:
    """Return the role and axes of each array, from rules or else from the schema, names and shapes.

    Parameters
    ----------
    arrays : mapping of str to ForeignArray
        Arrays by name.
    rules : sequence of MapRule
        User-given rules; the first that fits a name decides.

    Returns
    -------
    dict of str to Guess
        One guess for every array, in the same order.

    Raises
    ------
    UsageError
        If a rule fits no name, or names another number of axes than an array has.
    """
    for rule in rules:
        if not any(map(rule.fits, arrays)):
            raise unknown_name("array", rule.pattern, arrays)
    told = {name: next((rule for rule in rules if rule.fits(name)), None) for name in arrays}
    paths = {name: plain_path(name) for name in arrays}
    free = {name: array for name, array in arrays.items() if told[name] is None and not _WEIGHTS.search(name)}
    known = {name: _by_schema(paths[name], array, paths.values()) for name, array in free.items()}
    square = [array for name, array in free.items() if (spec := known[name]) is None or spec.role in _SQUARE]
    lengths = _lengths(array.shape for array in square)
    layers = _layers([array for name, array in free.items() if known[name] is None], lengths)
    found = {}
    for name, array in arrays.items():
        if (mine := told[name]) is not None:
            found[name] = _as_told(name, array, mine)
        elif name not in free:
            axes = array.axes or _numbered(array.shape)
            found[name] = Guess(role=Role.ARRAY, axes=axes, why="weights of a model, by its name")
        elif (spec := known[name]) is not None:
            found[name] = Guess(role=spec.role, axes=spec.axes, why="the schema's name")
        else:
            found[name] = _within_schema(paths[name], array, _by_shape(paths[name], array, lengths, layers))
    return _of_one_length(found, arrays, [name for name in arrays if told[name] is None])


def _as_told(name: str, array: ForeignArray, rule: MapRule) -> Guess:
    axes = rule.axes or array.axes or _numbered(array.shape)
    if rule.role is not None and len(axes) != len(array.shape):
        has = f"{name} has {len(array.shape)}: {array.shape}"
        raise UsageError(f"--map {str(rule)!r} names {len(axes)} axes, and {has}.")
    return Guess(role=rule.role, axes=axes, why="as told")


def _by_schema(path: str, array: ForeignArray, paths: Collection[str]) -> TensorSpec | None:
    """Return the specification of a path by the schema or an extension; None if there is none or the axes differ."""
    try:
        spec = spec_at(path, array.shape, array.dtype, paths) or tensor(path, array.shape, array.dtype)
        if spec.axes == _numbered(array.shape):
            return None
        if array.axes:
            return tensor(path, array.shape, array.dtype, axes=array.axes, role=spec.role)
    except SchemaError:
        return None
    return None if spec.axes[:1] == ("image",) and not any(each in paths for each in IMAGES) else spec


def _within_schema(path: str, array: ForeignArray, guessed: Guess) -> Guess:
    """Return a guess, with role ``array`` if the schema defines the path differently."""
    try:
        tensor(path, array.shape, array.dtype, axes=guessed.axes, role=guessed.role)
    except SchemaError:
        return replace(guessed, role=Role.ARRAY, why="the schema has other axes under this name, or none")
    return guessed


def _of_one_length(
    found: Mapping[str, Guess], arrays: Mapping[str, ForeignArray], guessed: Collection[str]
) -> dict[str, Guess]:
    """Assign role ``array`` to arrays with another number of residues than most, because a trace has only one.

    Parameters
    ----------
    found, arrays : mapping of str to Guess and ForeignArray
        Guesses and arrays by name.
    guessed : collection of str
        Names of arrays without a rule. If arrays with a rule have residues, only these determine the usual number.
    """
    counts = {name: _residues(one, arrays[name]) for name, one in found.items() if one.role is not None}
    stated = [n for name, one in counts.items() if name not in guessed for n in one]
    usual = Counter(stated or (n for one in counts.values() for n in one)).most_common(1)
    made = dict(found)
    for name in guessed:
        if others := sorted(set(counts[name]) - {n for n, _ in usual}):
            axes = zip(found[name].axes, arrays[name].shape, strict=True)
            renamed = tuple(f"{axis}_of_{n}" if axis == "residue" and n in others else axis for axis, n in axes)
            why = f"{others[0]} residues, where most arrays have {usual[0][0]}"
            made[name] = Guess(role=Role.ARRAY, axes=renamed, why=why)
    return made


def _residues(guessed: Guess, array: ForeignArray) -> list[int]:
    return [n for axis, n in zip(guessed.axes, array.shape, strict=True) if axis == "residue"]


def _lengths(shapes: Iterable[tuple[int, ...]]) -> Counter[int]:
    """Count the lengths of square axes, the last two or the two before the last: residues or tokens."""
    counts: Counter[int] = Counter()
    for shape in shapes:
        square = {shape[-1]} if len(shape) > 1 and shape[-1] == shape[-2] else set()
        square |= {shape[-2]} if len(shape) in (3, 4) and shape[-3] == shape[-2] else set()
        counts.update(n for n in square if n >= _LEAST)
    return counts


def _layers(arrays: Collection[ForeignArray], lengths: Collection[int]) -> int | None:
    """Return the number of layers: a first extent that arrays of 3 or more axes share, not in `lengths`; or None."""
    deep = [array.shape for array in arrays if len(array.shape) > 2]
    counts = Counter(shape[0] for shape in deep if shape[0] not in lengths)
    square = {shape[0] for shape in deep if shape[-1] == shape[-2] in lengths and len(shape) == 3}
    shared = [n for n, count in counts.most_common(1) if count > 1 and n not in square]
    return shared[0] if shared else None


def _by_shape(path: str, array: ForeignArray, lengths: Counter[int], layers: int | None) -> Guess:
    shape, count = array.shape, len(array.shape)
    usual = lengths.most_common(1)[0][0] if lengths else None
    if count > 2 and shape[-1] == shape[-2] and shape[-1] in lengths and not shape[0] == shape[1] == shape[2]:
        lead = _lead(path, shape[:-3])
        role, axes, why = Role.ATTENTION, (*lead, "head", "query", "key"), "square last axes"
    elif count == 2 and shape[0] == shape[1] and shape[0] in lengths:
        attention = bool(_ATTENTION.search(path))
        role, axes = (Role.ATTENTION, ("query", "key")) if attention else (Role.PAIR, ("token", "token"))
        why = "square, and its name" if attention else "square"
    elif count in (3, 4) and shape[-3] == shape[-2] and shape[-2] in lengths:
        lead = _lead(path, shape[:-3])
        role, axes, why = Role.PAIR, (*lead, "token", "token", "channel"), "square axes with channels"
    else:
        return _plain(path, array, usual, layers)
    if (length := shape[axes.index("token") if "token" in axes else -1]) != usual:
        why = f"its square axes have {length}, and most have {usual}"
        return Guess(role=Role.ARRAY, axes=array.axes or _numbered(shape), why=why)
    return Guess(role=role, axes=array.axes or axes, why=why)


def _lead(path: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Name the axes before the known ones: the first is ``layer``, unless the path names a single layer."""
    numbered = _numbered(shape)
    return numbered if not shape or _OF_A_LAYER.search(path) else ("layer", *numbered[1:])


def _plain(path: str, array: ForeignArray, usual: int | None, layers: int | None) -> Guess:
    if array.axes:
        return Guess(role=Role.ARRAY, axes=array.axes, why="the file's names of axes")
    shape, axes, why = array.shape, list(_numbered(array.shape)), "its shape"
    for axis, extent in enumerate(shape):
        if extent == usual:
            axes[axis], why = "token", "an axis shared with square ones"
    if len(shape) > 2 and shape[0] == layers and not _OF_A_LAYER.search(path):
        axes[0], why = "layer", "a first axis that others share"
    if len(shape) > 1 and "token" in axes and axes[-1] != "token":
        axes[-1] = "channel"
    return Guess(role=Role.ARRAY, axes=tuple(axes), why=why)


def _numbered(shape: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"axis_{k}" for k in range(len(shape)))
