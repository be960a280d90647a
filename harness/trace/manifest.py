"""The manifest of an archive: tensors, provenance and limitations, as JSON and with validation."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.documents import decode
from harness.errors import ArchiveError
from harness.trace.chains import Chain, check_chains, counted_axes, differing_lengths
from harness.trace.incomplete import Incomplete
from harness.trace.loss import Loss
from harness.trace.schema import MOST_BYTES, MOST_TENSORS, Role, SchemaError, TensorSpec, validate_tensor
from harness.trace.slimming import Origin

MANIFEST_VERSION, FIRST_VERSION = 2, 1
"""Version that is written, and first version that is read. Version 1 had no `values` and no role `array`; at that time,
only lossy or incomplete archives were called version 2."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata fields of the schema; None if the source does not state them.

    `Manifest` derives the other two fields of the schema, ``tensor_dtypes`` and ``tensor_shapes``, from the tensors.
    """

    model_name: str | None = None
    model_version: str | None = None
    config_version: str | None = None
    num_layers: int | None = None  # of the trunk
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
class Intervention:
    """Change in a model while it ran, for a counterfactual trace.

    Attributes
    ----------
    tensor : str
        Path of the tensor that was patched, as in an archive of the model.
    change : str
        What was done to it, such as ``replaced`` or ``zeroed at tokens 10 to 20``.
    run : str or None
        The trace from which the new values are: its label, or the digest of its archive; None if there is none.
    """

    tensor: str
    change: str
    run: str | None = None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Origin of the values.

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
        Importer that read the values from files of another program, as program, version and kind of source; None if
        the values were not imported.
    files : mapping of str to str
        SHA-256 in hexadecimal of each imported file, by its path relative to the source; a folder that is one store,
        such as a Zarr group, counts as one file.
    interventions : tuple of Intervention
        Tensors that were patched while the model ran; empty if there are none.
    """

    source: str
    seed: int | None = None
    trained: bool | None = None
    bf16_born: bool | None = None
    note: str | None = None
    importer: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    interventions: tuple[Intervention, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Content of an archive: its tensors, metadata, provenance and, once written, a digest per tensor."""

    tensors: tuple[TensorSpec, ...]  # In the order in which they are produced and written.
    metadata: Metadata = field(default_factory=Metadata)  # The schema's metadata fields.
    provenance: Provenance  # Where the values come from.
    # Digest of every tensor's bytes by path (see `harness.trace.stream.Digest`); empty until written.
    digests: Mapping[str, str] = field(default_factory=dict)
    # What was rounded and dropped, with the measured errors; None if every bit is the source's.
    loss: Loss | None = None
    # Progress of the writing if it ended early; `tensors` are then only those that were complete by that time.
    incomplete: Incomplete | None = None
    # In a slimmed archive, the original tensors; `tensors` are then the stored ones.
    slimming: tuple[Origin, ...] = ()
    # The chains of a complex along the axis ``token``, or ``residue`` without tokens; empty for a single chain.
    chains: tuple[Chain, ...] = ()

    @property
    def tensor_dtypes(self) -> dict[str, str]:
        """Dtype by path."""
        return {spec.path: spec.dtype for spec in self.tensors}

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape by path."""
        return {spec.path: spec.shape for spec in self.tensors}

    @property
    def length(self) -> int | None:
        """Number of residues, or else of tokens of a complex; None if neither is stated."""
        residues = self.metadata.num_residues
        return self.chains[-1].stop if residues is None and self.chains else residues

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors in memory, duplicates included."""
        return sum(spec.nbytes for spec in self.tensors)

    @property
    def lacks(self) -> tuple[str, ...]:
        """Limitations compared with the model's own values and layers: any of untrained, lossy, incomplete, sampled."""
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

    def arrays(self) -> list[TensorSpec]:
        """Return the non-empty tensors of role array or activation, which have no specific way of reading.

        If there are none, and no attention or pair either, return all non-empty tensors.
        """
        filled = [spec for spec in self.tensors if spec.items]
        unknown = [spec for spec in filled if spec.role in (Role.ARRAY, Role.ACTIVATION)]
        known = any(spec.role in (Role.ATTENTION, Role.PAIR) for spec in filled)
        return unknown if unknown or known else filled

    def only_whole(self) -> list[TensorSpec]:
        """Return the non-empty tensors of which no parts are read: neither attention nor pair, nor in `arrays`."""
        parts = {spec.path for spec in self.arrays()}
        parts |= {spec.path for spec in self.tensors if spec.role in (Role.ATTENTION, Role.PAIR)}
        return [spec for spec in self.tensors if spec.items and spec.path not in parts]

    def layers(self) -> dict[int, list[TensorSpec]]:
        """Return the tensors of each layer of the trunk, in order, the first layer first."""
        found: defaultdict[int, list[TensorSpec]] = defaultdict(list)
        for spec in self.tensors:
            if spec.layer is not None:
                found[spec.layer].append(spec)
        return dict(sorted(found.items()))

    def examples(self) -> dict[Role, TensorSpec]:
        """Return the first tensor of each role."""
        return {spec.role: spec for spec in reversed(self.tensors)}

    def with_role(self, role: Role) -> list[TensorSpec]:
        """Return the tensors of one role, in order."""
        return [spec for spec in self.tensors if spec.role is role]

    def attributes(self) -> dict[str, Any]:
        """Return the known metadata fields of the schema, as plain values for a container's own attributes."""
        fields = dataclasses.asdict(self.metadata)
        fields |= {"tensor_dtypes": self.tensor_dtypes, "tensor_shapes": self.tensor_shapes}
        fields["loss"] = self.loss and dataclasses.asdict(self.loss)
        fields["incomplete"] = self.incomplete and str(self.incomplete)
        known = {name: value for name, value in fields.items() if value not in (None, ())}
        return {name: value if isinstance(value, str | int) else json.dumps(value) for name, value in known.items()}

    def to_json(self) -> str:
        """Serialise to JSON text that `from_json` reads back unchanged."""
        plain = dataclasses.asdict(self)
        plain["slimming"] = [{name: value for name, value in row.items() if value} for row in plain["slimming"]]
        plain["tensors"] = [{k: v for k, v in row.items() if k != "values" or v} for row in plain["tensors"]]
        of_source = ("importer", "files", "interventions")
        for part, *optional in ((plain, "loss", "incomplete", "slimming", "chains"), (plain["provenance"], *of_source)):
            for name in optional:
                if not part[name]:
                    del part[name]
        return json.dumps({"manifest_version": MANIFEST_VERSION, **plain}, indent=1)

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
            If the text is not a manifest of a version that this reader knows.
        SchemaError
            If the manifest does not fit the schema.
        """
        version = ("manifest_version", FIRST_VERSION, MANIFEST_VERSION)
        stored = decode(text, _Stored, "The archive's manifest", version=version, mend="", error=ArchiveError)
        manifest = cls(**{name: value for name, value in vars(stored).items() if name != "manifest_version"})
        validate(manifest)
        return manifest


@dataclass(frozen=True, kw_only=True)
class _Stored(Manifest):
    """A manifest as `Manifest.to_json` writes it."""

    manifest_version: int


def check_path(path: str, tensors: Container[str], groups: Container[str]) -> set[str]:
    """Return the groups that a tensor is in; raise `SchemaError` if its path or one of the groups is taken.

    Parameters
    ----------
    path : str
        Path of the tensor.
    tensors, groups : container of str
        Paths of the other tensors, and of all groups that contain them.
    """
    if path in tensors:
        raise SchemaError(f"{path}: expected each tensor once, found it twice.")
    parts = path.split("/")
    above = ["/".join(parts[:k]) for k in range(1, len(parts))]
    both = path if path in groups else next((name for name in above if name in tensors), "")
    if both:
        raise SchemaError(f"{both}: expected either a tensor or a group of tensors under this name, found both.")
    return set(above)


def validate(manifest: Manifest) -> None:
    """Raise `SchemaError` if a tensor is invalid, is listed twice, or is inside another.

    The same applies to inconsistent axes, chains, digests or errors, and to too many tensors or bytes.
    """
    if len(manifest.tensors) > MOST_TENSORS:
        raise SchemaError(f"A trace holds at most {MOST_TENSORS} tensors, got {len(manifest.tensors)}.")
    seen: set[str] = set()
    groups: set[str] = set()
    counted = counted_axes(chains=bool(manifest.chains))
    known = {} if manifest.metadata.num_residues is None else {"residue": manifest.metadata.num_residues}
    for spec in manifest.tensors:
        validate_tensor(spec)
        groups |= check_path(spec.path, seen, groups)
        seen.add(spec.path)
    lengths = {axis: n for spec in manifest.tensors for axis, n in zip(spec.axes, spec.shape, strict=True)}
    for problem in differing_lengths(manifest.tensors, counted, known):
        raise SchemaError(problem)
    check_chains(manifest.chains, lengths)
    if manifest.nbytes > MOST_BYTES:
        raise SchemaError("A trace holds less than 2**63 bytes; this one has larger shapes.")
    if stray := set(manifest.digests) - seen:
        raise SchemaError(f"{min(stray)}: expected a digest only for tensors that the manifest lists.")
    seen |= {row.path for row in manifest.slimming}
    if manifest.loss is not None and (stray := {row.path for row in manifest.loss.rounded} - seen):
        raise SchemaError(f"{min(stray)}: expected errors only of tensors that the manifest lists.")
