"""Content of a prediction's mmCIF file: numbers by category and item, and atoms as tables of a complex."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.extensions.importing.file_contents import FileContent
from harness.foreign.packed import read_packed
from harness.foreign.source import ForeignArray, SourceError, readable
from harness.registry import missing_package
from harness.trace.chains import Chain, ChainKind
from harness.trace.complexes import Complex, letters, token_chains
from harness.trace.structure import RESIDUES

POSITIONS = "atom_site/positions"
_AXES = ("Cartn_x", "Cartn_y", "Cartn_z")
_LARGEST = 1 << 30  # bytes, unpacked
_MOST_VALUES = 10_000_000
"""Most values of a file: each is a text of some hundred bytes in memory. 5,000 tokens have a tenth as many values."""

_PIECE = 1 << 24  # bytes per step when values are counted
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WHOLE = re.compile(r"[-+]?\d{1,18}")

_POLYMERS: dict[str, ChainKind] = {
    "polypeptide(L)": "protein",
    "polypeptide(D)": "protein",
    "polyribonucleotide": "rna",
    "polydeoxyribonucleotide": "dna",
}
_STANDARD = {*RESIDUES.values(), "UNK", "A", "C", "G", "U", "N", "DA", "DC", "DG", "DT", "DN"}
"""Components that are one token each. Of others, each atom is a token: Abramson, J. et al. (2024), section 2.6.

Boltz-2 also has a single token for a modified residue of a polymer.
"""


@dataclass(frozen=True)
class AtomRow:
    """An atom of a file: chain, residue number in the chain, component, name and element."""

    chain: str
    residue: str
    component: str
    name: str
    element: str


@dataclass(frozen=True)
class StructureFacts:
    """Facts that the files of all samples of a complex share: its atoms, and name, kind and entity of each chain."""

    atoms: tuple[AtomRow, ...]
    chains: tuple[tuple[str, ChainKind, str], ...]


def read_cif(path: Path) -> FileContent:
    """Read the numbers of an mmCIF file; unknown (``?``) and omitted (``.``) values among numbers become NaN.

    Parameters
    ----------
    path : Path
        The file, which may be packed.

    Returns
    -------
    FileContent
        Each item that holds numbers as ``category/item``, the coordinates together as `POSITIONS`. The fact
        ``structure`` is its `StructureFacts`. Without gemmi, no array, and how to install gemmi.
    """
    content = FileContent()
    if missing := missing_package("gemmi", "trace-format-harness[structures]"):
        content.left.append((f"mmCIF {missing}", path.name))
        return content
    from gemmi import cif

    with readable(path):
        packed = read_packed(path, _LARGEST)
        content.note_packed(packed)
        _check_count(packed.data)
        block = cif.read_string(packed.data).sole_block()
        tables = {name.strip("_."): block.get_mmcif_category(name) for name in block.get_mmcif_category_names()}
    for category, columns in tables.items():
        axis = "atom" if category == "atom_site" else f"{category}_row"
        for item, values in columns.items():
            array = _numbers(values)
            if array is not None:
                content.take(f"{category}/{item}", ForeignArray.of(array)._replace(axes=(axis,)))
    with readable(path):
        placed = [content.arrays.pop(f"atom_site/{item}", None) for item in _AXES]
        if all(placed):
            together = np.stack([each.load() for each in placed if each], axis=1)
            content.arrays[POSITIONS] = ForeignArray.of(together)._replace(axes=("atom", "xyz"))
            content.facts["structure"] = _facts(tables)
    return content


def _check_count(data: bytes) -> None:
    """Raise an error if a file has more than `_MOST_VALUES` values, before any is parsed."""
    count, blank_before = 0, True
    for start in range(0, len(data), _PIECE):
        blank = np.frombuffer(data, np.uint8, min(_PIECE, len(data) - start), start) <= ord(" ")
        count += int(np.count_nonzero(blank[:-1] & ~blank[1:])) + int(blank_before and not blank[0])
        blank_before = bool(blank[-1])
        if count > _MOST_VALUES:
            raise HarnessError(f"it holds more than {_MOST_VALUES:,} values: split it into files of fewer models")


def _numbers(values: Sequence[Any]) -> np.ndarray | None:
    """Return a column as int64 or float64; None if a value is no number, or if all are missing."""
    said = [value for value in values if isinstance(value, str)]
    if not said or not all(_NUMBER.fullmatch(value) for value in said):
        return None
    if len(said) == len(values) and all(_WHOLE.fullmatch(value) for value in said):
        return np.array(list(map(int, said)), np.int64)
    return np.array([float(value) if isinstance(value, str) else np.nan for value in values])


def _facts(tables: dict[str, dict[str, list[Any]]]) -> StructureFacts:
    site = tables["atom_site"]
    numbers = site["auth_seq_id"] if "auth_seq_id" in site else site["label_seq_id"]
    columns = (site["label_asym_id"], numbers, site["label_comp_id"], site["label_atom_id"], site["type_symbol"])
    atoms = tuple(AtomRow(*(str(value or "") for value in row)) for row in zip(*columns, strict=True))
    kinds = dict(zip(*_two(tables, "entity_poly", "entity_id", "type"), strict=True))
    kept = dict(zip(*_two(tables, "entity", "id", "type"), strict=True))
    entity = dict(zip(*_two(tables, "struct_asym", "id", "entity_id"), strict=True))
    count: defaultdict[str, int] = defaultdict(int)
    for atom in atoms:
        count[atom.chain] += 1
    chains = []
    for name, number in count.items():
        its = str(entity.get(name) or "")
        kind: ChainKind = _POLYMERS.get(str(kinds.get(its)), "other")
        if kept.get(its) == "non-polymer":
            kind = "ion" if number == 1 else "ligand"
        chains.append((name, kind, its))
    return StructureFacts(atoms, tuple(chains))


def _two(tables: dict[str, dict[str, list[Any]]], category: str, *items: str) -> tuple[list[Any], ...]:
    table = tables.get(category, {})
    return tuple(table.get(item, []) for item in items) if all(item in table for item in items) else ([], [])


def complex_of(
    structure: StructureFacts | None, tokens: Sequence[tuple[str, str]] = (), count: int | None = None
) -> Complex | None:
    """Return the tables of a complex.

    Parameters
    ----------
    structure : StructureFacts or None
        Atoms and chains, if a structure file was read.
    tokens : sequence of (str, str)
        Chain and residue number of each token, if a file states them. Without them, tokens are derived from the atoms:
        a standard residue of a polymer is one token, and any other component has one token per atom. A modified
        residue has one token per atom or a single one.
    count : int, optional
        Number of tokens of the arrays that the tables describe; it decides how modified residues are counted.

    Returns
    -------
    Complex or None
        None if the tokens are unknown; without a table of tokens if the number of derived tokens differs from `count`.

    Raises
    ------
    SourceError
        If atoms and tokens belong to different complexes.
    """
    atoms = structure.atoms if structure else ()
    fits = True
    if not tokens and structure:
        polymers = {name for name, kind, _ in structure.chains if kind in _POLYMERS.values()}
        rules = [_tokens_of(atoms, joined) for joined in (set(), polymers)]
        tokens = next((found for found in rules if count in (None, len(found))), rules[0])
        fits = count in (None, len(tokens))
    if not tokens:
        return None
    chains, index = token_chains([chain for chain, _ in tokens])
    if structure:
        known = {name: (kind, entity) for name, kind, entity in structure.chains}
        chains = tuple(_described(chain, *known.get(chain.name, (chain.kind, ""))) for chain in chains)
    columns = {"chain": index}
    if all(_WHOLE.fullmatch(residue) for _, residue in tokens):
        columns["residue_index"] = np.array([int(residue) for _, residue in tokens], np.int64)
    if not atoms:
        return Complex(chains=chains, tokens=columns, atoms={})
    table = {
        "name": letters([atom.name for atom in atoms]),
        "element": letters([atom.element for atom in atoms]),
    }
    if not fits:
        return Complex(chains=chains, tokens={}, atoms=table)
    of_atom = _atom_tokens(atoms, tokens)
    first = np.unique(of_atom, return_index=True)[1]
    columns["component"] = letters([atoms[place].component for place in first])
    return Complex(chains=chains, tokens=columns, atoms={"token": of_atom, **table})


def _described(chain: Chain, kind: ChainKind, entity: str) -> Chain:
    return Chain(name=chain.name, kind=kind, start=chain.start, stop=chain.stop, entity=entity)


def _tokens_of(atoms: Sequence[AtomRow], joined: Collection[str]) -> list[tuple[str, str]]:
    """Return the tokens of atoms; in the chains of `joined`, every residue is one token, modified or not."""
    found: list[tuple[str, str]] = []
    before: AtomRow | None = None
    for atom in atoms:
        same = before is not None and (atom.chain, atom.residue) == (before.chain, before.residue)
        if not same or (atom.component not in _STANDARD and atom.chain not in joined):
            found.append((atom.chain, atom.residue))
        before = atom
    return found


def _atom_tokens(atoms: Sequence[AtomRow], tokens: Sequence[tuple[str, str]]) -> np.ndarray:
    """Return the token index of each atom, int32: the only token of its residue, or one token per atom in order."""
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, token in enumerate(tokens):
        places[token].append(place)
    members: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for number, atom in enumerate(atoms):
        members[atom.chain, atom.residue].append(number)
    found = np.empty(len(atoms), np.int32)
    for residue, numbers in members.items():
        own = places.get(residue, [])
        if len(own) not in (1, len(numbers)):
            raise SourceError(
                f"The residue {residue[1]} of chain {residue[0]} has {len(numbers)} atoms and {len(own)} tokens: the "
                "files are of different complexes; put those of one job into a folder of their own."
            )
        found[numbers] = own
    if lacking := sorted(set(places) - set(members))[:1]:
        raise SourceError(
            f"The residue {lacking[0][1]} of chain {lacking[0][0]} has tokens and no atom: the files are of different "
            "complexes; put those of one job into a folder of their own."
        )
    return found
