"""The VizFold archive schema as data: tensor specifications, the manifest, and their validation."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from harness.errors import ArchiveError, HarnessError

MANIFEST_VERSION = 1

DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")),
    "float16",
    "float32",
    "float64",
)

_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_PADDED = re.compile(r"(layer|step)_0\d+")


class SchemaError(HarnessError):
    """A tensor, manifest or block does not fit the schema; the message names the path and what was expected."""


class Role(StrEnum):
    """What a tensor is to a reader, whatever its name: suites choose tensors by it."""

    INPUT = "input"
    ACTIVATION = "activation"
    SINGLE = "single"
    PAIR = "pair"
    ATTENTION = "attention"
    STRUCTURE = "structure"
    OUTPUT = "output"


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
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    role: Role

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return self.items * np.dtype(self.dtype).itemsize

    @property
    def items(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def layer(self) -> int | None:
        """The layer that the path names, if it names one."""
        match = re.search(r"(?:^|/)layer_(\d+)(?:/|$)", self.path)
        return int(match.group(1)) if match else None


# Path pattern, role, and the axes it may have. The union of the two forms of the VizFold proposal, the attention kinds
# of its prototype, and the vision traces of its first two stages.
_RESIDUE_SINGLE = ("residue", "channel")
_RESIDUE_PAIR = ("residue", "residue", "pair_channel")
_KNOWN: tuple[tuple[str, Role, tuple[tuple[str, ...], ...]], ...] = (
    (r"inputs/sequence", Role.INPUT, (("residue",),)),
    (r"inputs/msa", Role.INPUT, (("sequence", "residue"),)),
    (r"inputs/images", Role.INPUT, (("image", "image_channel", "row", "column"),)),
    (r"inputs/.+", Role.INPUT, ()),
    (r"activations/layer_\d+/single_repr", Role.SINGLE, (_RESIDUE_SINGLE,)),
    (r"activations/layer_\d+/pair_repr", Role.PAIR, (_RESIDUE_PAIR,)),
    (r"activations/layer_\d+/hidden_states", Role.ACTIVATION, (("image", "token", "channel"),)),
    (r"activations/.+", Role.ACTIVATION, ()),
    (
        r"attention/(?:[^/]+/)?layer_\d+",
        Role.ATTENTION,
        (
            ("head", "residue", "residue"),
            ("residue", "head", "residue", "residue"),
            ("image", "head", "token", "token"),
        ),
    ),
    (r"single/layer_\d+", Role.SINGLE, (_RESIDUE_SINGLE,)),
    (r"pair/layer_\d+", Role.PAIR, (_RESIDUE_PAIR,)),
    (r"recycle/step_\d+/single_repr", Role.SINGLE, (_RESIDUE_SINGLE,)),
    (r"recycle/step_\d+/pair_repr", Role.PAIR, (_RESIDUE_PAIR,)),
    (r"recycle/.+", Role.ACTIVATION, ()),
    (r"structure/atom_positions", Role.STRUCTURE, (("residue", "xyz"), ("residue", "atom", "xyz"))),
    (r"structure/atom_mask", Role.STRUCTURE, (("residue",), ("residue", "atom"))),
    (r"structure/ptm", Role.STRUCTURE, ((),)),
    (r"structure/.+", Role.STRUCTURE, ()),
    (r"outputs/coordinates", Role.OUTPUT, (("residue", "xyz"),)),
    (r"outputs/confidence_scores", Role.OUTPUT, (("residue",),)),
    (r"outputs/logits", Role.OUTPUT, (("image", "class"),)),
    (r"outputs/.+", Role.OUTPUT, ()),
)
_STRICT_GROUPS = ("attention", "single", "pair")


def tensor(
    path: str,
    shape: Iterable[int],
    dtype: Any = "float32",
    *,
    axes: Iterable[str] | None = None,
    role: Role | None = None,
) -> TensorSpec:
    """Specify a tensor, taking role and axis names from the schema where it defines them.

    Parameters
    ----------
    path : str
        Name within the archive.
    shape : iterable of int
        Extent along each axis.
    dtype : numpy dtype or str
        Value type.
    axes : iterable of str, optional
        Axis names, for tensors that the schema does not define.
    role : Role, optional
        Role, for tensors that the schema does not define.

    Returns
    -------
    TensorSpec
        Checked by `validate_tensor`.

    Raises
    ------
    SchemaError
        When the path, shape, dtype or axes do not fit the schema.
    """
    shape = tuple(int(n) for n in shape)
    known = _lookup(path)
    choices = [names for names in known[1] if len(names) == len(shape)] if known else []
    if axes is None and choices:
        axes = choices[0]
    if axes is None:
        axes = tuple(f"axis_{k}" for k in range(len(shape)))
    spec = TensorSpec(
        path=path,
        shape=shape,
        dtype=np.dtype(dtype).name,
        axes=tuple(axes),
        role=role or (known[0] if known else Role.ACTIVATION),
    )
    validate_tensor(spec)
    return spec


def _lookup(path: str) -> tuple[Role, tuple[tuple[str, ...], ...]] | None:
    for pattern, role, choices in _KNOWN:
        if re.fullmatch(pattern, path):
            return role, choices
    return None


def validate_path(path: str) -> None:
    """Refuse a tensor path that is not a plain relative name.

    Parameters
    ----------
    path : str
        Name within an archive.

    Raises
    ------
    SchemaError
        When the path is empty, absolute, climbs out of the archive, is zero-padded or uses the reserved group.
    """
    if not isinstance(path, str) or not path:
        raise SchemaError(f"A tensor path must be a non-empty string, got {path!r}.")
    parts = path.split("/")
    if any(not _COMPONENT.fullmatch(part) for part in parts):
        raise SchemaError(
            f"{path!r}: expected names of letters, digits, '_', '.', '+' or '-' joined by '/'; "
            "a path may not be absolute, hidden, or climb out of the archive with '..'."
        )
    if len(parts) < 2 or parts[0] == "metadata":
        raise SchemaError(
            f"{path!r}: expected a tensor inside a group other than 'metadata', such as 'outputs/{parts[-1]}'."
        )
    if any(_PADDED.fullmatch(part) for part in parts):
        raise SchemaError(f"{path!r}: expected 'layer_0', 'layer_1' ... without zero padding.")


def validate_tensor(spec: TensorSpec) -> None:
    """Check one tensor specification against the schema.

    Parameters
    ----------
    spec : TensorSpec
        What to check.

    Raises
    ------
    SchemaError
        Naming the path and what was expected.
    """
    validate_path(spec.path)
    if spec.dtype not in DTYPES:
        raise SchemaError(f"{spec.path}: expected a dtype among {', '.join(DTYPES)}, got {spec.dtype!r}.")
    if any(not isinstance(n, int) or n < 0 for n in spec.shape):
        raise SchemaError(f"{spec.path}: expected a shape of non-negative integers, got {spec.shape}.")
    if len(spec.axes) != len(spec.shape) or any(not isinstance(name, str) for name in spec.axes):
        raise SchemaError(f"{spec.path}: expected one axis name for each of {len(spec.shape)} axes, got {spec.axes}.")
    known = _lookup(spec.path)
    if known and known[1]:
        expected = " or ".join(f"({', '.join(names)})" for names in known[1])
        if spec.axes not in known[1]:
            raise SchemaError(
                f"{spec.path}: expected axes {expected}, got ({', '.join(spec.axes)}) with shape {spec.shape}."
            )
    elif known is None and spec.path.split("/")[0] in _STRICT_GROUPS:
        raise SchemaError(f"{spec.path}: expected a name such as '{spec.path.split('/')[0]}/layer_0'.")


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata fields of the schema; None where the source does not say.

    ``tensor_dtypes`` and ``tensor_shapes``, the schema's other two fields, are properties of `Manifest`, which
    derives them from the tensors so that they cannot disagree.
    """

    model_name: str | None = None
    model_version: str | None = None
    config_version: str | None = None
    num_layers: int | None = None
    num_heads: int | None = None
    hidden_dim: int | None = None
    num_residues: int | None = None
    num_recycles: int | None = None
    residue_indexing_scheme: str | None = None
    input_description: str | None = None
    timestamp: str | None = None
    recycle_info: str | None = None
    representation_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the values come from.

    Attributes
    ----------
    source : str
        The trace source with its parameters, or a citation.
    seed : int or None
        Seed of the generator or model, where there is one.
    trained : bool or None
        Whether the model's weights were trained; None where there is no model.
    bf16_born : bool or None
        Whether every float32 value is exactly representable in bfloat16; None where unknown.
    note : str or None
        Anything a reader must know, such as how weights were initialised.
    """

    source: str
    seed: int | None = None
    trained: bool | None = None
    bf16_born: bool | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an archive holds: its tensors, metadata, provenance and, once written, a digest per tensor.

    Attributes
    ----------
    tensors : tuple of TensorSpec
        In the order in which they are produced and written.
    metadata : Metadata
        The schema's metadata fields.
    provenance : Provenance
        Where the values come from.
    digests : mapping of str to str
        Digest of every tensor's bytes by path (see `harness.trace.stream.Digest`); empty until written.
    """

    tensors: tuple[TensorSpec, ...]
    metadata: Metadata = field(default_factory=Metadata)
    provenance: Provenance
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def tensor_dtypes(self) -> dict[str, str]:
        """Value type by path."""
        return {spec.path: spec.dtype for spec in self.tensors}

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape by path."""
        return {spec.path: spec.shape for spec in self.tensors}

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors in memory, duplicates included."""
        return sum(spec.nbytes for spec in self.tensors)

    def __getitem__(self, path: str) -> TensorSpec:
        for spec in self.tensors:
            if spec.path == path:
                return spec
        raise SchemaError(f"{path}: expected one of the {len(self.tensors)} tensors of this trace.")

    def with_role(self, role: Role) -> list[TensorSpec]:
        """List the tensors of one role, in order."""
        return [spec for spec in self.tensors if spec.role is role]

    def attributes(self) -> dict[str, Any]:
        """Return the schema's metadata fields that are known, as plain values for a container's own attributes."""
        fields: dict[str, Any] = {k: v for k, v in dataclasses.asdict(self.metadata).items() if v not in (None, ())}
        fields["tensor_dtypes"] = json.dumps(self.tensor_dtypes)
        fields["tensor_shapes"] = json.dumps(self.tensor_shapes)
        if "representation_names" in fields:
            fields["representation_names"] = json.dumps(fields["representation_names"])
        return fields

    def to_json(self) -> str:
        """Serialise to JSON text that `from_json` reads back unchanged."""
        return json.dumps({"manifest_version": MANIFEST_VERSION, **dataclasses.asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read a manifest written by `to_json` and validate it.

        Parameters
        ----------
        text : str or bytes
            JSON text.

        Returns
        -------
        Manifest
            Validated.

        Raises
        ------
        ArchiveError
            When the text is not a manifest of a version this reader knows.
        SchemaError
            When it is one but does not fit the schema.
        """
        try:
            raw = json.loads(text)
            version = raw.pop("manifest_version")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArchiveError("The archive's manifest is damaged or was not written by this harness.") from error
        if version != MANIFEST_VERSION:
            raise ArchiveError(
                f"The archive's manifest has version {version!r}; this reader knows version {MANIFEST_VERSION}."
            )
        try:
            tensors = tuple(
                TensorSpec(
                    path=item["path"],
                    shape=tuple(item["shape"]),
                    dtype=item["dtype"],
                    axes=tuple(item["axes"]),
                    role=Role(item["role"]),
                )
                for item in raw["tensors"]
            )
            metadata = Metadata(
                **{**raw["metadata"], "representation_names": tuple(raw["metadata"]["representation_names"])}
            )
            manifest = cls(
                tensors=tensors,
                metadata=metadata,
                provenance=Provenance(**raw["provenance"]),
                digests=dict(raw["digests"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArchiveError(f"The archive's manifest is damaged: {type(error).__name__} at {error}.") from error
        validate(manifest)
        return manifest


def validate(manifest: Manifest) -> None:
    """Check a manifest: every tensor, unique names, no tensor inside another, and axes that agree.

    Parameters
    ----------
    manifest : Manifest
        What to check.

    Raises
    ------
    SchemaError
        Naming the path and what was expected.
    """
    seen: set[str] = set()
    groups: set[str] = set()
    residues = manifest.metadata.num_residues
    for spec in manifest.tensors:
        validate_tensor(spec)
        if spec.path in seen:
            raise SchemaError(f"{spec.path}: expected each tensor once, found it twice.")
        seen.add(spec.path)
        parts = spec.path.split("/")
        groups.update("/".join(parts[:k]) for k in range(1, len(parts)))
        for axis, length in zip(spec.axes, spec.shape, strict=True):
            if axis == "residue":
                residues = length if residues is None else residues
                if length != residues:
                    raise SchemaError(
                        f"{spec.path}: expected {residues} residues along axis '{axis}', got shape {spec.shape}."
                    )
    if inside := seen & groups:
        raise SchemaError(f"{min(inside)}: expected either a tensor or a group of tensors under this name, found both.")
    if stray := set(manifest.digests) - seen:
        raise SchemaError(f"{min(stray)}: expected a digest only for tensors that the manifest lists.")
