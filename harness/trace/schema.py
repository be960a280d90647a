"""The VizFold archive schema as data: tensor specifications, the manifest, and their validation."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from harness.documents import Count, decode
from harness.errors import ArchiveError, HarnessError
from harness.trace.incomplete import Incomplete
from harness.trace.loss import Loss
from harness.trace.slimming import Origin

# What is whole and lossless is written as it was before archives could be anything else. One that is not has a version
# of its own, so that a reader that does not know it refuses it instead of passing off a part as the whole, or rounded
# values as the original ones.
MANIFEST_VERSION, MARKED_VERSION = 1, 2

DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")),
    "float16",
    "float32",
    "float64",
)

_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_PADDED = re.compile(r"(layer|step)_0\d+")


MOST_TENSORS, MOST_AXES, MOST_BYTES, LONGEST_PATH = 50_000, 32, 2**63 - 1, 1024
"""Tensors of a trace, axes of a tensor, bytes of all tensors, and characters of a path, at most."""


class SchemaError(HarnessError):
    """A tensor, manifest or block does not fit the schema; the message names the path and what was expected."""


class Role(StrEnum):
    """What a tensor is to a reader, whatever its name: suites choose tensors by it."""

    INPUT = "input"
    ACTIVATION = "activation"
    SINGLE = "single"
    PAIR = "pair"
    ATTENTION = "attention"
    ATTENTION_TOPK = "attention_topk"
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
    shape: tuple[Count, ...]
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
        return prod(self.shape)

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
    # "final": behind the last layer of the last pass, for programs that return it and do not count layers.
    (r"activations/(?:layer_\d+|final)/single_repr", Role.SINGLE, (_RESIDUE_SINGLE,)),
    (r"activations/(?:layer_\d+|final)/pair_repr", Role.PAIR, (_RESIDUE_PAIR,)),
    (
        r"activations/layer_\d+/hidden_states",
        Role.ACTIVATION,
        (("image", "token", "channel"), ("residue", "channel")),
    ),
    (r"activations/.+", Role.ACTIVATION, ()),
    (
        r"attention/(?:[^/]+/)?layer_\d+",
        Role.ATTENTION,
        (
            ("head", "residue", "residue"),
            ("image", "head", "token", "token"),
            ("residue", "head", "residue", "residue"),
        ),
    ),
    # The largest weights of each head, as aligned lists: an entry that is not listed is unknown, not zero. Lists and
    # not maps with holes, for a file of them does not say how many residues there are. A role of their own, so that
    # nothing that asks for attention maps gets a list.
    (r"attention_topk/(?:[^/]+/)?layer_\d+/(?:row|column|weight)", Role.ATTENTION_TOPK, (("head", "rank"),)),
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
        role=role or role_of(path),
    )
    validate_tensor(spec)
    return spec


def _lookup(path: str) -> tuple[Role, tuple[tuple[str, ...], ...]] | None:
    for pattern, role, choices in _KNOWN:
        if re.fullmatch(pattern, path):
            return role, choices
    return None


def role_of(path: str) -> Role:
    """Return the role that a tensor has by its path alone; one that the schema does not define is an activation."""
    known = _lookup(path)
    return known[0] if known else Role.ACTIVATION


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
    if len(path) > LONGEST_PATH:
        raise SchemaError(f"{path[:80]!r} ...: expected a path of at most {LONGEST_PATH} characters.")
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
    if not isinstance(spec.dtype, str) or spec.dtype not in DTYPES:
        raise SchemaError(f"{spec.path}: expected a dtype among {', '.join(DTYPES)}, got {spec.dtype!r}.")
    if not isinstance(spec.role, Role):
        raise SchemaError(f"{spec.path}: expected a Role, such as Role.PAIR, got {spec.role!r}.")
    if not isinstance(spec.shape, tuple) or any(type(n) is not int or n < 0 for n in spec.shape):
        raise SchemaError(f"{spec.path}: expected a shape of non-negative integers, got {spec.shape}.")
    if len(spec.shape) > MOST_AXES:
        raise SchemaError(f"{spec.path}: expected at most {MOST_AXES} axes, got {len(spec.shape)}.")
    # As numpy does, which counts the others even where one axis is empty.
    if prod(n or 1 for n in spec.shape) * np.dtype(spec.dtype).itemsize > MOST_BYTES:
        raise SchemaError(f"{spec.path}: expected a tensor of less than 2**63 bytes, got shape {spec.shape}.")
    if (
        not isinstance(spec.axes, tuple)
        or len(spec.axes) != len(spec.shape)
        or any(not isinstance(name, str) for name in spec.axes)
    ):
        raise SchemaError(f"{spec.path}: expected one axis name for each of {len(spec.shape)} axes, got {spec.axes}.")
    known = _lookup(spec.path)
    if known and known[1]:
        expected = " or ".join(f"({', '.join(names)})" for names in known[1])
        if spec.axes not in known[1]:
            raise SchemaError(
                f"{spec.path}: expected axes {expected}, got ({', '.join(spec.axes)}) with shape {spec.shape}."
            )
    elif known is None and spec.path.split("/")[0] in _STRICT_GROUPS:
        raise SchemaError(f"{spec.path}: expected a name such as '{_STRICT_GROUPS[spec.path.split('/')[0]]}'.")


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
    importer : str or None
        What brought the values in from files that another program wrote, as program, version and kind of source; None
        where nothing did.
    files : mapping of str to str
        SHA-256 in hexadecimal of each of those files, by its path from the source; a folder that is one store, such as
        a Zarr group, counts as one file (see `harness.extensions.importing.source.tree_digest`).
    """

    source: str
    seed: int | None = None
    trained: bool | None = None
    bf16_born: bool | None = None
    note: str | None = None
    importer: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


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
    loss : Loss or None
        What was rounded and dropped, with the measured errors; None where every bit is the source's.
    incomplete : Incomplete or None
        How far the writing came, where it ended early and the tensors are only those that were whole by then.
    slimming : tuple of Origin
        In a slimmed archive, the tensors that it stands for; `tensors` are then those that it stores.
    """

    tensors: tuple[TensorSpec, ...]
    metadata: Metadata = field(default_factory=Metadata)
    provenance: Provenance
    digests: Mapping[str, str] = field(default_factory=dict)
    loss: Loss | None = None
    incomplete: Incomplete | None = None
    slimming: tuple[Origin, ...] = ()

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

    @property
    def lacks(self) -> tuple[str, ...]:
        """What its values or layers lack against the model's own: any of untrained, lossy, incomplete, sampled."""
        layers = {spec.layer for spec in self.tensors} - {None}
        lacks = {
            "untrained": self.provenance.trained is False,
            "lossy": self.loss is not None,
            "incomplete": self.incomplete is not None,
            "sampled": self.incomplete is None and 0 < len(layers) < (self.metadata.num_layers or 0),
        }
        return tuple(name for name, applies in lacks.items() if applies)

    def __getitem__(self, path: str) -> TensorSpec:
        try:
            return self._by_path[path]
        except KeyError:
            raise SchemaError(f"{path}: expected one of the {len(self.tensors)} tensors of this trace.") from None

    @cached_property
    def _by_path(self) -> dict[str, TensorSpec]:
        return {spec.path: spec for spec in self.tensors}

    def layers(self) -> dict[int, list[TensorSpec]]:
        """Return the tensors of each layer, in order, the first layer first."""
        found: dict[int, list[TensorSpec]] = {}
        for spec in self.tensors:
            if spec.layer is not None:
                found.setdefault(spec.layer, []).append(spec)
        return dict(sorted(found.items()))

    def examples(self) -> dict[Role, TensorSpec]:
        """Return the first tensor of each role."""
        return {spec.role: spec for spec in reversed(self.tensors)}

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
        if self.loss is not None:
            fields["loss"] = json.dumps(dataclasses.asdict(self.loss))
        if self.incomplete is not None:
            fields["incomplete"] = str(self.incomplete)
        return fields

    def to_json(self) -> str:
        """Serialise to JSON text that `from_json` reads back unchanged."""
        plain = dataclasses.asdict(self)
        plain["slimming"] = [{name: value for name, value in row.items() if value} for row in plain["slimming"]]
        for name in ("loss", "incomplete", "slimming"):
            if not plain[name]:
                del plain[name]
        for name in ("importer", "files"):  # the bytes of an archive that nothing was imported into stay as they were
            if not plain["provenance"][name]:
                del plain["provenance"][name]
        version = MANIFEST_VERSION if self.loss is None and self.incomplete is None else MARKED_VERSION
        return json.dumps({"manifest_version": version, **plain}, indent=1)

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
        version = ("manifest_version", MANIFEST_VERSION, MARKED_VERSION)
        stored = decode(text, _Stored, "The archive's manifest", version=version, mend="", error=ArchiveError)
        manifest = cls(**{name: value for name, value in vars(stored).items() if name != "manifest_version"})
        validate(manifest)
        return manifest


@dataclass(frozen=True, kw_only=True)
class _Stored(Manifest):
    """A manifest as `Manifest.to_json` writes it."""

    manifest_version: int

    def __post_init__(self) -> None:
        if self.manifest_version == MARKED_VERSION and self.loss is None and self.incomplete is None:
            raise ValueError("Expected the record of what is lossy or incomplete, which this version is for")


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
    if len(manifest.tensors) > MOST_TENSORS:
        raise SchemaError(f"A trace holds at most {MOST_TENSORS} tensors, got {len(manifest.tensors)}.")
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
    if manifest.nbytes > MOST_BYTES:
        raise SchemaError("A trace holds less than 2**63 bytes; this one has larger shapes.")
    if inside := seen & groups:
        raise SchemaError(f"{min(inside)}: expected either a tensor or a group of tensors under this name, found both.")
    if stray := set(manifest.digests) - seen:
        raise SchemaError(f"{min(stray)}: expected a digest only for tensors that the manifest lists.")
    seen |= {row.path for row in manifest.slimming}
    if manifest.loss is not None and (stray := {row.path for row in manifest.loss.rounded} - seen):
        raise SchemaError(f"{min(stray)}: expected errors only of tensors that the manifest lists.")
