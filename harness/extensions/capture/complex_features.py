"""Input features of OpenFold3 for a complex of chains and ligands, without the libraries of its data pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import biotite.structure.info as components
import numpy as np
import torch
from openfold3.core.data.resources.residues import STANDARD_RESIDUES_WITH_GAP_3
from torch.nn.functional import one_hot

from harness.errors import UsageError
from harness.extensions.capture.complex_query import ComplexQuery, QueryChain
from harness.extensions.capture.openfold3_features import Atoms, no_template, reference
from harness.trace.chains import Chain, ChainKind
from harness.trace.complexes import Complex, letters

_TYPES = len(STANDARD_RESIDUES_WITH_GAP_3)
_LEAVING = {"OXT", "OP3"}
"""Atoms that are dropped from residues of a polymer: OpenFold3 expects the same atoms in all residues of a type."""

_NAME_LENGTH = 4  # letters of an atom's name, as OpenFold3 encodes it


@dataclass(frozen=True, kw_only=True)
class Molecules:
    """Atoms, tokens and bonds of a complex, as OpenFold3 counts them."""

    atoms: Atoms  # All heavy atoms, with the residue of each, counted over all chains: a ligand is one residue.
    token: np.ndarray  # Ndarray of int64. The token of each atom: its residue, or, in a ligand, the atom itself.
    # For each token: its chain, its residue counted from 1 in its chain, and its residue type.
    chain: np.ndarray
    number: np.ndarray
    kind: np.ndarray
    # Ndarray of int32, shape ``(tokens, tokens)``. 1 for two tokens of a ligand whose atoms are bonded.
    bonds: np.ndarray
    query: ComplexQuery  # The query that they come from.

    def _kind(self, chain: int) -> ChainKind:
        """Return the kind of a chain: a ligand of one atom is an ion."""
        kind = self.query.chains[chain].kind
        return "ion" if kind == "ligand" and np.count_nonzero(self.chain == chain) == 1 else kind

    def tables(self) -> Complex:
        """Return chains, tokens and atoms as tables of a trace."""
        starts = np.searchsorted(self.chain, np.arange(len(self.query.chains) + 1)).tolist()
        chains = tuple(
            Chain(name=each.name, kind=self._kind(k), start=starts[k], stop=starts[k + 1], entity=each.entity)
            for k, each in enumerate(self.query.chains)
        )
        of_token = [self.query.chains[chain].components for chain in self.chain]
        codes = [parts[number - 1] for parts, number in zip(of_token, self.number, strict=True)]
        tokens = {
            "chain": self.chain.astype(np.int32),
            "residue_index": self.number.astype(np.int32),
            "component": letters(codes),
        }
        atoms = {
            "token": self.token.astype(np.int32),
            "name": letters(self.atoms.names),
            "element": letters(self.atoms.elements),
            "reference_position": self.atoms.positions,
            "charge": self.atoms.charges,
        }
        return Complex(chains=chains, tokens=tokens, atoms=atoms)


def molecules_of(query: ComplexQuery) -> Molecules:
    """Return atoms and tokens of a complex; raise `UsageError` for a code missing from the dictionary of components."""
    rows: list[tuple[str, str, int, np.ndarray, float]] = []
    token: list[int] = []
    columns: list[tuple[int, int, int]] = []  # chain, residue number and type of each token
    bonded: list[tuple[int, int]] = []
    residue = 0
    for place, chain in enumerate(query.chains):
        for number, code in enumerate(chain.components, 1):
            found, bonds = _component(chain, code)
            kind = _kind(code)
            alone = chain.kind == "ligand"
            first = len(columns)
            for k, (name, element, position, charge) in enumerate(found):
                if alone or not k:
                    columns.append((place, number, kind))
                rows.append((name, element, residue, position, charge))
                token.append(len(columns) - 1)
            bonded += [(first + a, first + b) for a, b in bonds] if alone else []
            residue += 1
    names, elements, residues, positions, charges = zip(*rows, strict=True)
    atoms = Atoms(names, elements, np.array(residues), np.array(positions, np.float32), np.array(charges, np.float32))
    chains, numbers, kinds = np.array(columns).T
    matrix = np.zeros((len(columns), len(columns)), np.int32)
    for a, b in bonded:
        matrix[a, b] = matrix[b, a] = 1
    return Molecules(
        atoms=atoms, token=np.array(token), chain=chains, number=numbers, kind=kinds, bonds=matrix, query=query
    )


def _component(chain: QueryChain, code: str) -> tuple[list[tuple[str, str, np.ndarray, float]], list[tuple[int, int]]]:
    """Return the heavy atoms of a residue or ligand, in the ideal conformer, and the bonds between them."""
    try:
        whole = components.residue(code)
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"The chain {chain.name} has {code!r}, of which the Chemical Component Dictionary has no conformer."
        ) from error
    left_out = _LEAVING if chain.kind != "ligand" else set()
    kept = [k for k, atom in enumerate(whole) if atom.element not in ("H", "D") and atom.atom_name not in left_out]
    if not kept or any(len(whole[k].atom_name) > _NAME_LENGTH for k in kept):
        raise UsageError(f"The chain {chain.name} has {code!r}, whose atoms OpenFold3 cannot name.")
    place = {k: row for row, k in enumerate(kept)}
    bonds = [(place[a], place[b]) for a, b, _ in whole.bonds.as_array().tolist() if a in place and b in place]
    found = [(whole[k].atom_name, whole[k].element, whole[k].coord, float(whole[k].charge)) for k in kept]
    return found, bonds


def _kind(code: str) -> int:
    known = STANDARD_RESIDUES_WITH_GAP_3
    return known.index(code) if code in known else known.index("UNK")


def complex_features(molecules: Molecules) -> dict[str, torch.Tensor]:
    """Return the features of a complex without alignment and templates, with a batch axis of length 1."""
    n, atoms, query = len(molecules.chain), molecules.atoms, molecules.query
    counts = torch.from_numpy(np.bincount(molecules.token, minlength=n))
    entities = [chain.entity for chain in query.chains]
    copies = [entities[: k + 1].count(entity) for k, entity in enumerate(entities)]
    kinds = np.array([chain.kind for chain in query.chains])[molecules.chain]

    def of_chain(values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.int32)[torch.from_numpy(molecules.chain)]

    def flag(kind: str) -> torch.Tensor:
        return torch.from_numpy((kinds == kind).astype(np.int32))

    types = one_hot(torch.from_numpy(molecules.kind), _TYPES).float()
    rows = types[None]
    found = {
        "residue_index": torch.from_numpy(molecules.number.astype(np.int32)),
        "token_index": torch.arange(n, dtype=torch.int32),
        "asym_id": of_chain(list(range(1, len(entities) + 1))),
        "entity_id": of_chain([int(entity) for entity in entities]),
        "sym_id": of_chain(copies),
        "restype": types,
        **{f"is_{kind}": flag(kind) for kind in ("protein", "rna", "dna", "ligand")},
        "is_atomized": flag("ligand"),
        "token_mask": torch.ones(n),
        "token_bonds": torch.from_numpy(molecules.bonds),
        "num_atoms_per_token": counts.to(torch.int32),
        "start_atom_index": (torch.cumsum(counts, 0) - counts).to(torch.int32),
        "atom_to_token_index": torch.from_numpy(molecules.token),
        "atom_mask": torch.ones(len(atoms.names)),
        **reference(atoms),
        "msa": rows,
        "has_deletion": torch.zeros(1, n),
        "deletion_value": torch.zeros(1, n),
        "deletion_mean": torch.zeros(n),
        "profile": types,
        "msa_mask": torch.ones(1, n),
        "num_paired_seqs": torch.tensor([1], dtype=torch.int32),
        **no_template(n),
    }
    return {name: value[None] for name, value in found.items()}
