"""mmCIF for structure viewers: positions of atoms, confidences as B factors; a model for each sample of each seed.

Categories and items are those of the dictionary PDBx/mmCIF 5 (https://mmcif.wwpdb.org). Values have as many digits as
tell a number of their type from its neighbours, so that they are read back equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.extensions.exporting.layout import ExportLayout
from harness.registry import missing_package
from harness.trace.complexes import ATOM_TOKEN, ATOMS, TOKEN_CHAIN, TOKENS, texts
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import Trace, read_whole
from harness.trace.structure import ATOMS as ATOM_TYPES
from harness.trace.structure import RESIDUES

_POSITIONS = re.compile(r"structure/(?:(?:seed|sample)_[^/]+/)?atom_positions")
_MASK, _SEQUENCE = "structure/atom_mask", "inputs/sequence"
_TYPES = ("float32", "float64")
_NO_STRUCTURE = "mmCIF holds positions of atoms, and the trace has none that it knows the atoms of"
_UNKNOWN = "UNK"
_NAMES = {
    "type_symbol", "label_atom_id", "label_comp_id", "label_asym_id", "label_entity_id", "auth_asym_id"
}  # fmt: skip
"""Items that may need quotes; of the others a quoted ``.`` would be no missing value."""


@dataclass(frozen=True, kw_only=True)
class _AtomNames:
    """What each atom of a model is called: one text or number for each."""

    atoms: Sequence[str]
    elements: Sequence[str]
    residues: Sequence[str]
    numbers: Sequence[int]
    chains: Sequence[str]
    entities: Sequence[str]
    polymer: Sequence[bool]


class MmcifLayout(ExportLayout):
    """One mmCIF file of positions, and of the confidences of their atoms."""

    name = "mmcif"
    description = "one file with positions and confidences, for structure viewers; no other tensors"

    def __init__(self) -> None:
        self._models: dict[str, slice] = {}

    @staticmethod
    def missing() -> str:
        return missing_package("gemmi", "trace-format-harness[structures]")

    def lacking(self, manifest: Manifest) -> dict[str, str]:
        kept = {path for spec in _structures(manifest) for path in (spec.path, _confidences_of(spec, manifest))}
        why = "mmCIF holds structures alone" if kept else _NO_STRUCTURE
        return {spec.path: why for spec in manifest.tensors if spec.path not in kept}

    def write(self, trace: Trace, path: Path, whole: Trace) -> list[str]:
        from gemmi import cif  # a compiled library that not everybody has

        structures = _structures(trace.manifest, whole.manifest)
        of_residues = structures[0].axes[0] == "residue"
        names = _residue_atoms(whole) if of_residues else _table_atoms(whole)
        present = read_whole(whole, _MASK) > 0 if of_residues else None
        columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for spec in structures:
            values = read_whole(trace, spec.path)
            models = values if spec.axes[0] == "sample" else values[None]
            scores = np.zeros(models.shape[:-1], np.float32)
            if confidences := _confidences_of(spec, trace.manifest):
                scores = read_whole(trace, confidences).reshape(scores.shape)
            self._models[spec.path] = slice(len(columns), len(columns) + len(models))
            for positions, score in zip(models, scores, strict=True):
                chosen = (positions, score) if present is None else (positions[present], score[present])
                columns.append((*chosen, np.full(len(chosen[1]), len(columns) + 1)))
        document = cif.Document()
        block = document.add_new_block("trace")
        block.set_pair("_entry.id", "trace")
        loop = block.init_loop("_struct_asym.", ["id", "entity_id"])
        for chain, entity in dict(zip(names.chains, names.entities, strict=True)).items():
            loop.add_row([cif.quote(chain), cif.quote(entity)])
        items = _items(names, columns)
        texts_of = [list(map(cif.quote, items[name])) if name in _NAMES else items[name] for name in items]
        block.init_loop("_atom_site.", list(items)).set_all_values(texts_of)
        document.write_file(str(path))
        return []

    def read(self, path: Path, spec: TensorSpec) -> Iterator[np.ndarray]:
        from gemmi import cif

        is_position = _POSITIONS.fullmatch(spec.path) is not None
        models = self._models[spec.path if is_position else _positions_of(spec.path)]
        items = ["Cartn_x", "Cartn_y", "Cartn_z"] if is_position else ["B_iso_or_equiv"]
        block = cif.read(str(path)).sole_block()
        number = np.array(list(block.find_values("_atom_site.pdbx_PDB_model_num")), np.int64)
        chosen = (number > models.start) & (number <= models.stop)
        texts_of = [list(block.find_values(f"_atom_site.{item}")) for item in items]
        values = np.array(texts_of, np.float64).astype(spec.dtype).T[chosen]
        if spec.axes[0] != "residue":
            yield np.ascontiguousarray(values).reshape(spec.shape)
            return
        found = np.zeros((*spec.shape[:2], len(items)), spec.dtype)
        atoms = [ATOM_TYPES.index(cif.as_string(name)) for name in block.find_values("_atom_site.label_atom_id")]
        residue = np.array(list(block.find_values("_atom_site.label_seq_id")), np.int64) - 1
        found[residue[chosen], np.array(atoms)[chosen]] = values
        yield found.reshape(spec.shape)


def _structures(manifest: Manifest, whole: Manifest | None = None) -> list[TensorSpec]:
    """List the positions whose atoms are known: by the table of atoms, or by AlphaFold's 37 types and the sequence."""
    paths = {spec.path for spec in (whole or manifest).tensors}
    found = []
    for spec in manifest.tensors:
        if not _POSITIONS.fullmatch(spec.path) or spec.values or spec.dtype not in _TYPES:
            continue
        by_table = spec.axes[-2:] == ("atom", "xyz") and spec.axes[0] != "residue" and ATOM_TOKEN in paths
        by_type = spec.axes == ("residue", "atom", "xyz") and spec.shape[1] == len(ATOM_TYPES)
        if by_table or (by_type and {_MASK, _SEQUENCE} <= paths):
            found.append(spec)
    return found


def _confidences_of(structure: TensorSpec, manifest: Manifest) -> str:
    """Return the path of the confidences of the atoms of a structure; empty for none that fit."""
    path = structure.path.replace("structure/", "outputs/").replace("atom_positions", "atom_plddts")
    fits = (spec.dtype in _TYPES and spec.axes == structure.axes[:-1] for spec in manifest.tensors if spec.path == path)
    return path if next(fits, False) else ""


def _positions_of(confidences: str) -> str:
    return confidences.replace("outputs/", "structure/").replace("atom_plddts", "atom_positions")


def _table_atoms(trace: Trace) -> _AtomNames:
    """Name the atoms of a complex by its tables; what a table does not have is named after its place."""
    token = read_whole(trace, ATOM_TOKEN).astype(np.int64)
    chain = read_whole(trace, TOKEN_CHAIN).astype(np.int64)
    first = np.searchsorted(chain, chain)
    numbers = _column(trace, f"{TOKENS}/residue_index", np.arange(len(chain)) - first + 1)[token]
    names = _column(trace, f"{ATOMS}/name", np.array([f"X{k + 1}" for k in range(len(token))]))
    elements = _column(trace, f"{ATOMS}/element", np.array([str(name)[:1] for name in names]))
    residues = _column(trace, f"{TOKENS}/component", np.full(len(chain), _UNKNOWN))[token]
    chains = trace.manifest.chains
    of_chain = chain[token]
    entities = np.array([each.entity or str(k + 1) for k, each in enumerate(chains)])[of_chain]
    polymer = np.array([each.kind not in ("ligand", "ion") for each in chains])[of_chain]
    return _AtomNames(
        atoms=names.tolist(), elements=elements.tolist(), residues=residues.tolist(), numbers=numbers.tolist(),
        chains=np.array([each.name for each in chains])[of_chain].tolist(), entities=entities.tolist(),
        polymer=polymer.tolist(),
    )  # fmt: skip


def _column(trace: Trace, path: str, otherwise: np.ndarray) -> np.ndarray:
    """Return a column of the tables, letters as texts, or else what is given."""
    if path not in {spec.path for spec in trace.manifest.tensors}:
        return otherwise
    values = read_whole(trace, path)
    return np.array(texts(values)) if values.ndim == 2 else values


def _residue_atoms(trace: Trace) -> _AtomNames:
    """Name the atoms of one protein chain by their types."""
    residue, kind = np.nonzero(read_whole(trace, _MASK) > 0)
    sequence = bytes(read_whole(trace, _SEQUENCE).astype(np.uint8)).decode("ascii", "replace")
    names = [ATOM_TYPES[each] for each in kind]
    count = len(names)
    return _AtomNames(
        atoms=names, elements=[name[0] for name in names],
        residues=[RESIDUES.get(sequence[each], _UNKNOWN) for each in residue], numbers=(residue + 1).tolist(),
        chains=["A"] * count, entities=["1"] * count, polymer=[True] * count,
    )  # fmt: skip


def _items(names: _AtomNames, models: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, list[str]]:
    """Return the columns of ``_atom_site`` by item, one model behind the other."""
    times = len(models)
    positions, scores, number = (np.concatenate(part) for part in zip(*models, strict=True))
    x, y, z = positions.astype("U32").T.tolist()
    numbers = list(map(str, names.numbers))
    polymer = [n if is_polymer else "." for n, is_polymer in zip(numbers, names.polymer, strict=True)]
    return {
        "group_PDB": ["ATOM" if each else "HETATM" for each in names.polymer] * times,
        "id": list(map(str, range(1, len(number) + 1))),
        "type_symbol": list(names.elements) * times,
        "label_atom_id": list(names.atoms) * times,
        "label_alt_id": ["."] * len(number),
        "label_comp_id": list(names.residues) * times,
        "label_asym_id": list(names.chains) * times,
        "label_entity_id": list(names.entities) * times,
        "label_seq_id": polymer * times,
        "Cartn_x": x,
        "Cartn_y": y,
        "Cartn_z": z,
        "occupancy": ["1"] * len(number),
        "B_iso_or_equiv": scores.astype("U32").tolist(),
        "auth_seq_id": numbers * times,
        "auth_asym_id": list(names.chains) * times,
        "pdbx_PDB_model_num": number.astype("U20").tolist(),
    }
