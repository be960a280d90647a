"""The VizFold archive schema as data: its tensors, their roles and axes, and their validation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Any

import numpy as np

from harness.documents import Count
from harness.errors import HarnessError

DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")),
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
HELD = {"bfloat16": "uint16"}
"""Types that NumPy lacks, each with the dtype that holds its bits."""

_OWN_LAYERS = ("diffusion/", "attention/atom/")
"""Path prefixes whose layers are not those of the trunk: of a diffusion, and of attention between atoms."""

_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_PADDED = re.compile(r"(layer|step)_0\d+")


MOST_TENSORS, MOST_AXES, MOST_BYTES, LONGEST_PATH = 50_000, 32, 2**63 - 1, 1024
"""Maximum tensors of a trace, axes of a tensor, bytes of all tensors, and characters of a path."""


class SchemaError(HarnessError):
    """A tensor, manifest or block does not fit the schema; the message names the path and what was expected."""


class Role(StrEnum):
    """Purpose of a tensor, whatever its name; suites select tensors by it."""

    INPUT = "input"
    ACTIVATION = "activation"
    SINGLE = "single"
    PAIR = "pair"
    ATTENTION = "attention"
    ATTENTION_TOPK = "attention_topk"
    STRUCTURE = "structure"
    OUTPUT = "output"
    ARRAY = "array"


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One tensor of a trace.

    Attributes
    ----------
    path : str
        Name within the archive, such as ``pair/layer_0``.
    shape : tuple of int
        Extent along each axis; ``()`` for a scalar.
    dtype : str
        A numpy type name from `DTYPES`; bytes are little-endian.
    axes : tuple of str
        The name of each axis, such as ``("residue", "residue", "channel")``.
    role : Role
        What the tensor is.
    values : str
        Type of the values if `dtype` only holds their bits, one of `HELD`; empty if it is `dtype`.
    """

    path: str
    shape: tuple[Count, ...]
    dtype: str
    axes: tuple[str, ...]
    role: Role
    values: str = ""

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return self.items * np.dtype(self.dtype).itemsize

    @property
    def items(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def layer(self) -> int | None:
        """The layer of the trunk that the path names; None if it names none."""
        if self.path.startswith(_OWN_LAYERS):
            return None
        match = re.search(r"(?:^|/)layer_(\d+)(?:/|$)", self.path)
        return int(match.group(1)) if match else None


# Path pattern, role, and the axes that it may have; any axes if none are given. The union of the two forms of the
# VizFold proposal, the attention kinds of its prototype, and the vision traces of its first two stages. "final" is the
# output of the last layer of the last pass, for programs that return it and do not count layers.
#
# attention_topk: the largest weights of each head, as aligned lists: an entry that is not listed is unknown, not zero.
# They are lists and not maps with holes, because a file of them does not state the number of residues. They have a
# separate role, so that a selection of attention maps never includes a list.
_PLACE = r"(?:activations/(?:layer_\d+|final)|recycle/step_\d+)"
_KNOWN: tuple[tuple[str, Role, *tuple[str, ...]], ...] = (
    (r"inputs/sequence", Role.INPUT, "residue"),
    (r"inputs/msa", Role.INPUT, "sequence residue", "msa_row token"),
    (r"inputs/images", Role.INPUT, "image image_channel row column"),
    (r"inputs/.+", Role.INPUT),
    (rf"{_PLACE}/single_repr|single/layer_\d+", Role.SINGLE, "residue channel", "token channel"),
    (rf"{_PLACE}/pair_repr|pair/layer_\d+", Role.PAIR, "residue residue pair_channel", "token token channel"),
    (
        r"activations/layer_\d+/hidden_states",
        Role.ACTIVATION,
        "image token channel",
        "residue channel",
        "token channel",
    ),
    (r"(?:activations|recycle)/.+", Role.ACTIVATION),
    (
        r"attention/(?:[^/]+/)?layer_\d+",
        Role.ATTENTION,
        *("head residue residue", "image head token token", "residue head residue residue", "head token token"),
        *("head query key", "layer head query key", "head window query key", "sample head token token"),
        "token head token token",
    ),
    (r"attention_topk/(?:[^/]+/)?layer_\d+/(?:row|column|weight)", Role.ATTENTION_TOPK, "head rank"),
    (
        r"structure/atom_positions",
        Role.STRUCTURE,
        *("residue xyz", "residue atom xyz", "atom xyz", "sample atom xyz"),
    ),
    (r"structure/atom_mask", Role.STRUCTURE, "residue", "residue atom"),
    (r"structure/ptm", Role.STRUCTURE, ""),
    (r"structure/.+", Role.STRUCTURE),
    (r"outputs/coordinates", Role.OUTPUT, "residue xyz"),
    (r"outputs/confidence_scores", Role.OUTPUT, "residue"),
    (r"outputs/logits", Role.OUTPUT, "image class"),
    (r"outputs/.+", Role.OUTPUT),
)
_STRICT_GROUPS = {
    "attention": "attention/layer_0",
    "attention_topk": "attention_topk/layer_0/weight",
    "single": "single/layer_0",
    "pair": "pair/layer_0",
}


def tensor(
    path: str,
    shape: Iterable[int],
    dtype: Any = "float32",
    *,
    axes: Iterable[str] | None = None,
    role: Role | None = None,
) -> TensorSpec:
    """Specify a tensor, with role and axis names of the schema if it defines them.

    Parameters
    ----------
    path : str
        Name within the archive.
    shape : iterable of int
        Extent along each axis.
    dtype : numpy dtype or str
        Type of the values, also one of `HELD`.
    axes : iterable of str, optional
        Axis names, for tensors that the schema does not define.
    role : Role, optional
        Role, for tensors that the schema does not define.

    Returns
    -------
    TensorSpec
        Specification, checked by `validate_tensor`.

    Raises
    ------
    SchemaError
        If the path, shape, dtype or axes do not fit the schema.
    """
    shape = tuple(int(n) for n in shape)
    found, choices = _lookup(path) or (Role.ACTIVATION, ())
    if axes is None:
        named = (names for names in choices if len(names) == len(shape))
        axes = next(named, tuple(f"axis_{k}" for k in range(len(shape))))
    name = dtype if isinstance(dtype, str) and dtype in HELD else np.dtype(dtype).name
    held, values = (HELD[name], name) if name in HELD else (name, "")
    spec = TensorSpec(path=path, shape=shape, dtype=held, axes=tuple(axes), role=role or found, values=values)
    validate_tensor(spec)
    return spec


def _lookup(path: str) -> tuple[Role, tuple[tuple[str, ...], ...]] | None:
    for pattern, role, *choices in _KNOWN:
        if re.fullmatch(pattern, path):
            return role, tuple(tuple(names.split()) for names in choices)
    return None


def role_of(path: str) -> Role:
    """Return the role of a tensor by its path alone; activation if the schema does not define the path."""
    known = _lookup(path)
    return known[0] if known else Role.ACTIVATION


def validate_path(path: str) -> None:
    """Raise `SchemaError` if a tensor path is not a plain relative name.

    Parameters
    ----------
    path : str
        Name within an archive.

    Raises
    ------
    SchemaError
        If the path is empty, too long, absolute, climbs out of the archive, is zero-padded or uses the reserved group.
    """
    if not isinstance(path, str) or not path:
        raise SchemaError(f"A tensor path must be a non-empty string, got {path!r}.")
    if len(path) > LONGEST_PATH:
        raise SchemaError(f"{path[:80]!r} ...: expected a path of at most {LONGEST_PATH} characters.")
    parts = path.split("/")
    if any(not _COMPONENT.fullmatch(part) for part in parts):
        raise SchemaError(
            f"{path!r}: expected names of letters, digits, '_', '.', '+' or '-' joined by '/'; "
            "a path may not be absolute, hidden, or climb out of the archive with '..'."
        )
    if parts[0] == "metadata":
        raise SchemaError(f"{path!r}: expected a name outside the group 'metadata', such as 'outputs/{parts[-1]}'.")
    if any(_PADDED.fullmatch(part) for part in parts) and _lookup(path):
        raise SchemaError(f"{path!r}: expected 'layer_0', 'layer_1' ... without zero padding.")


def validate_tensor(spec: TensorSpec) -> None:
    """Check one tensor specification against the schema.

    Parameters
    ----------
    spec : TensorSpec
        Specification to check.

    Raises
    ------
    SchemaError
        If it does not fit; the message names the path and what was expected.
    """
    validate_path(spec.path)
    path, shape, axes = spec.path, spec.shape, spec.axes
    if not isinstance(spec.dtype, str) or spec.dtype not in DTYPES:
        raise SchemaError(f"{path}: expected a dtype among {', '.join(DTYPES)}, got {spec.dtype!r}.")
    if spec.values and HELD.get(spec.values) != spec.dtype:
        raise SchemaError(f"{path}: expected a type of values that {spec.dtype} holds, got {spec.values!r}.")
    if not isinstance(spec.role, Role):
        raise SchemaError(f"{path}: expected a Role, such as Role.PAIR, got {spec.role!r}.")
    if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
        raise SchemaError(f"{path}: expected a shape of non-negative integers, got {shape}.")
    if len(shape) > MOST_AXES:
        raise SchemaError(f"{path}: expected at most {MOST_AXES} axes, got {len(shape)}.")
    # As in NumPy, which counts the other axes even if one is empty.
    if prod(n or 1 for n in shape) * np.dtype(spec.dtype).itemsize > MOST_BYTES:
        raise SchemaError(f"{path}: expected a tensor of less than 2**63 bytes, got shape {shape}.")
    if not isinstance(axes, tuple) or len(axes) != len(shape) or not all(isinstance(name, str) for name in axes):
        raise SchemaError(f"{path}: expected one axis name for each of {len(shape)} axes, got {axes}.")
    if spec.role is Role.ARRAY:  # its file does not follow the schema, whatever its path
        return
    known, group = _lookup(path), path.split("/")[0]
    if known and known[1] and axes not in known[1]:
        expected = " or ".join(f"({', '.join(names)})" for names in known[1])
        raise SchemaError(f"{path}: expected axes {expected}, got ({', '.join(axes)}) with shape {shape}.")
    if known is None and group in _STRICT_GROUPS and spec.role.value != group:
        raise SchemaError(f"{path}: expected a name such as '{_STRICT_GROUPS[group]}'.")
