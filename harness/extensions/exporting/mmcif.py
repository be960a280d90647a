"""mmCIF export for structure viewers: atom positions, confidences as B factors, one model per sample of each seed.

Categories and items are those of the dictionary PDBx/mmCIF 5 (https://mmcif.wwpdb.org). Values are written with enough
digits to distinguish a number of their type from its neighbours, so they read back equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.extensions.exporting.layout import ExportLayout
from harness.registry import missing_package
from harness.trace.chains import Chain
from harness.trace.complexes import ATOM_TOKEN, ATOMS, TOKEN_CHAIN, TOKENS, texts
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import Trace, read_whole
from harness.trace.structure import ATOMS as ATOM_TYPES
from harness.trace.structure import RESIDUES

_POSITIONS = re.compile(r"structure/((?:(?:seed|sample)_[^/]+/)?)atom_positions")
_MASK, _SEQUENCE = "structure/atom_mask", "inputs/sequence"
_TYPES = ("float32", "float64")
_COORDINATES, _CONFIDENCE = ("Cartn_x", "Cartn_y", "Cartn_z"), ("B_iso_or_equiv",)
_UNKNOWN_VALUE = "?"
_NO_STRUCTURE = "mmCIF holds positions of atoms, and the trace has none that it knows the atoms of"
_UNKNOWN = "UNK"
_NAMES = {
    "type_symbol", "label_atom_id", "label_comp_id", "label_asym_id", "label_entity_id", "auth_asym_id"
}  # fmt: skip
"""Items whose values may need quotes. The others are never quoted: a quoted ``.`` would not mean a missing value."""


@dataclass(frozen=True, kw_only=True)
class _AtomNames:
    """Names and numbers of the atoms of a model: one entry per atom in each field.

    ``rows`` maps the axes of a tensor to the index of each atom's value, counted over these axes flattened.
    """

    atoms: Sequence[str]
    elements: Sequence[str]
    residues: Sequence[str]
    numbers: Sequence[int]
    chains: Sequence[str]
    entities: Sequence[str]
    polymer: Sequence[bool]
    rows: Mapping[tuple[str, ...], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """How to read a tensor back: its models, its items, the row of each atom, and the values that belong to no atom.

    The file does not hold the latter, in `others`. They come from the trace, so the comparison covers atoms only.
    """

    models: slice
    items: tuple[str, ...]
    rows: np.ndarray
    others: np.ndarray


class MmcifLayout(ExportLayout):
    """One mmCIF file with atom positions and the confidences of these atoms."""

    name = "mmcif"
    description = "one file with positions and confidences, for structure viewers; no other tensors"

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}

    @staticmethod
    def missing() -> str:
        return missing_package("gemmi", "trace-format-harness[structures]")

    def lacking(self, manifest: Manifest) -> dict[str, str]:
        structures = _structures(manifest)
        kept = {spec.path for each in structures for spec in (each, _confidences_of(each, manifest)) if spec}
        why = "mmCIF holds structures alone" if kept else _NO_STRUCTURE
        return {spec.path: why for spec in manifest.tensors if spec.path not in kept}

    def write(self, trace: Trace, path: Path, whole: Trace) -> list[str]:
        from gemmi import cif  # an optional compiled library

        structures, notes = _structures(trace.manifest, whole.manifest), []
        of_residues = structures[0].axes[0] == "residue"
        names = _residue_atoms(whole) if of_residues else _table_atoms(whole)
        models: list[np.ndarray] = []
        for spec in structures:
            columns = [self._columns(trace, spec, _COORDINATES, names, len(models))]
            if confidences := _confidences_of(spec, trace.manifest):
                columns.append(self._columns(trace, confidences, _CONFIDENCE, names, len(models)))
            else:
                columns.append(np.full((*columns[0].shape[:2], 1), _UNKNOWN_VALUE))
                notes.append(f"The trace has no confidences for {spec.path}: B_iso_or_equiv is {_UNKNOWN_VALUE}.")
            models += list(np.concatenate(columns, axis=-1))
        document = cif.Document()
        block = document.add_new_block("trace")
        block.set_pair("_entry.id", "trace")
        loop = block.init_loop("_struct_asym.", ["id", "entity_id"])
        for chain, entity in dict(zip(names.chains, names.entities, strict=True)).items():
            loop.add_row([cif.quote(chain), cif.quote(entity)])
        items = _items(names, models)
        texts_of = [list(map(cif.quote, items[name])) if name in _NAMES else items[name] for name in items]
        block.init_loop("_atom_site.", list(items)).set_all_values(texts_of)
        document.write_file(str(path))
        places = structures[0].items // len(_COORDINATES)
        if of_residues and (absent := places - len(names.atoms)):
            notes.append(f"{_MASK} leaves out {absent:,} of {places:,} atoms, whose values are not exported.")
        return notes

    def _columns(
        self, trace: Trace, spec: TensorSpec, items: tuple[str, ...], names: _AtomNames, first: int
    ) -> np.ndarray:
        """Return the texts of a tensor's values by model, atom and item; store in `_parts` how to read them back."""
        count = spec.shape[0] if spec.axes[0] == "sample" else 1
        values = read_whole(trace, spec.path).reshape(count, -1, len(items))
        rows = names.rows[_of_model(spec, items)]
        others = values.copy()
        others[:, rows] = 0
        self._parts[spec.path] = _Part(models=slice(first, first + count), items=items, rows=rows, others=others)
        chosen = values[:, rows]
        return np.where(np.isnan(chosen), _UNKNOWN_VALUE, chosen.astype("U32"))

    def read(self, path: Path, spec: TensorSpec) -> Iterator[np.ndarray]:
        from gemmi import cif

        part = self._parts[spec.path]
        block = cif.read(str(path)).sole_block()
        number = np.array(list(block.find_values("_atom_site.pdbx_PDB_model_num")), np.int64)
        chosen = (number > part.models.start) & (number <= part.models.stop)
        said = np.array([list(block.find_values(f"_atom_site.{item}")) for item in part.items]).T[chosen]
        values = np.where(said == _UNKNOWN_VALUE, "nan", said).astype(np.float64).astype(spec.dtype)
        found = part.others.copy()
        found[:, part.rows] = values.reshape(len(found), len(part.rows), len(part.items))
        yield found.reshape(spec.shape)


def _of_model(spec: TensorSpec, items: tuple[str, ...]) -> tuple[str, ...]:
    """Return the axes of a tensor that index atoms, tokens or residues within one model."""
    axes = spec.axes[1:] if spec.axes[0] == "sample" else spec.axes
    return axes[:-1] if items == _COORDINATES else axes


def _structures(manifest: Manifest, whole: Manifest | None = None) -> list[TensorSpec]:
    """Return the positions with known atoms: by the atom table, or by AlphaFold's 37 atom types and the sequence."""
    paths = {spec.path: spec for spec in (whole or manifest).tensors}
    chains = (whole or manifest).chains
    found = []
    for spec in manifest.tensors:
        if not _POSITIONS.fullmatch(spec.path) or spec.values or spec.dtype not in _TYPES or not spec.items:
            continue
        by_table = spec.axes[-2:] == ("atom", "xyz") and spec.axes[0] != "residue" and ATOM_TOKEN in paths and chains
        by_type = spec.axes == ("residue", "atom", "xyz") and spec.shape[1] == len(ATOM_TYPES) and _SEQUENCE in paths
        masked = _MASK in paths and paths[_MASK].shape == spec.shape[:2]
        counted = not chains or chains[-1].stop == spec.shape[0]
        if by_table or (by_type and masked and counted):
            found.append(spec)
    return [spec for spec in found if (spec.axes[0] == "residue") == (found[0].axes[0] == "residue")]


def _confidences_of(structure: TensorSpec, manifest: Manifest) -> TensorSpec | None:
    """Return the confidences of a structure's atoms, or else of their tokens or residues; None if none fit."""
    found = _POSITIONS.fullmatch(structure.path)
    label, of_atoms = found[1] if found else "", structure.axes[:-1]
    known = {
        f"outputs/{label}atom_plddts": of_atoms,
        f"structure/{label}atom_site/B_iso_or_equiv": of_atoms,
        f"outputs/{label}token_plddts": (*of_atoms[:-1], "token"),
        f"outputs/{label}confidence_scores": of_atoms[:-1] if of_atoms[0] == "residue" else (),
    }
    specs = {spec.path: spec for spec in manifest.tensors if spec.dtype in (*_TYPES, "int64") and not spec.values}
    fitting = (specs[path] for path, axes in known.items() if path in specs and axes and specs[path].axes == axes)
    return next(fitting, None)


def _table_atoms(trace: Trace) -> _AtomNames:
    """Name the atoms of a complex from its tables; derive names that a table lacks from the position in it."""
    token = read_whole(trace, ATOM_TOKEN).astype(np.int64)
    chain = read_whole(trace, TOKEN_CHAIN).astype(np.int64)
    first = np.searchsorted(chain, chain)
    numbers = _column(trace, f"{TOKENS}/residue_index", np.arange(len(chain)) - first + 1)[token]
    names = _column(trace, f"{ATOMS}/name", np.array([f"X{k + 1}" for k in range(len(token))]))
    elements = _column(trace, f"{ATOMS}/element", np.array([str(name)[:1] for name in names]))
    residues = _column(trace, f"{TOKENS}/component", np.full(len(chain), _UNKNOWN))[token]
    return _AtomNames(
        atoms=names.tolist(), elements=elements.tolist(), residues=residues.tolist(), numbers=numbers.tolist(),
        rows={("atom",): np.arange(len(token)), ("token",): token},
        **_of_chains(trace.manifest.chains, chain[token]),
    )  # fmt: skip


def _of_chains(chains: Sequence[Chain], chain: np.ndarray) -> dict[str, list[Any]]:
    """Return the fields of `_AtomNames` that each atom inherits from its chain."""
    entities = np.array([each.entity or str(k + 1) for k, each in enumerate(chains)])[chain]
    polymer = np.array([each.kind not in ("ligand", "ion") for each in chains])[chain]
    names = np.array([each.name for each in chains])[chain]
    return {"chains": names.tolist(), "entities": entities.tolist(), "polymer": polymer.tolist()}


def _column(trace: Trace, path: str, otherwise: np.ndarray) -> np.ndarray:
    """Return a column of the tables, with letters joined to texts; `otherwise` if the trace lacks the column."""
    if path not in {spec.path for spec in trace.manifest.tensors}:
        return otherwise
    values = read_whole(trace, path)
    return np.array(texts(values)) if values.ndim == 2 else values


def _residue_atoms(trace: Trace) -> _AtomNames:
    """Name the atoms of protein chains by their atom types; without chains in the manifest, all are of one chain."""
    residue, kind = np.nonzero(read_whole(trace, _MASK) > 0)
    sequence = bytes(read_whole(trace, _SEQUENCE).astype(np.uint8)).decode("ascii", "replace")
    names = [ATOM_TYPES[each] for each in kind]
    one = Chain(name="A", kind="protein", start=0, stop=len(sequence), entity="1")
    chains = trace.manifest.chains or (one,)
    chain = np.searchsorted([each.stop for each in chains], residue, side="right")
    return _AtomNames(
        atoms=names, elements=[name[0] for name in names],
        residues=[RESIDUES.get(sequence[each], _UNKNOWN) for each in residue],
        numbers=(residue - np.array([each.start for each in chains])[chain] + 1).tolist(),
        rows={("residue", "atom"): residue * len(ATOM_TYPES) + kind, ("residue",): residue},
        **_of_chains(chains, chain),
    )  # fmt: skip


def _items(names: _AtomNames, models: Sequence[np.ndarray]) -> dict[str, list[str]]:
    """Return the columns of ``_atom_site`` by item, one model after the other."""
    times, count = len(models), len(names.atoms)
    x, y, z, scores = np.concatenate(models).T.tolist()
    numbers = list(map(str, names.numbers))
    polymer = [n if is_polymer else "." for n, is_polymer in zip(numbers, names.polymer, strict=True)]
    return {
        "group_PDB": ["ATOM" if each else "HETATM" for each in names.polymer] * times,
        "id": list(map(str, range(1, times * count + 1))),
        "type_symbol": list(names.elements) * times,
        "label_atom_id": list(names.atoms) * times,
        "label_alt_id": ["."] * (times * count),
        "label_comp_id": list(names.residues) * times,
        "label_asym_id": list(names.chains) * times,
        "label_entity_id": list(names.entities) * times,
        "label_seq_id": polymer * times,
        "Cartn_x": x,
        "Cartn_y": y,
        "Cartn_z": z,
        "occupancy": ["1"] * (times * count),
        "B_iso_or_equiv": scores,
        "auth_seq_id": numbers * times,
        "auth_asym_id": list(names.chains) * times,
        "pdbx_PDB_model_num": [str(number + 1) for number in range(times) for _ in range(count)],
    }
