"""Input features of OpenFold3 for one protein chain, without the libraries of its own data pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import biotite.structure.info as components
import numpy as np
import torch
from biotite.sequence import ProteinSequence
from openfold3.core.model.structure.augmentation import centre_random_augmentation
from torch.nn.functional import one_hot

from harness.extensions.capture.inputs import AMINO_ACIDS, Query
from harness.trace.structure import ATOMS

_TYPES = 32  # residue types: amino acids, X, ten of nucleic acids, and the gap at the end
_SYMBOLS = (
    "H HE LI BE B C N O F NE NA MG AL SI P S CL AR K CA SC TI V CR MN FE CO NI CU ZN GA GE AS SE BR KR RB SR Y ZR NB "
    "MO TC RU RH PD AG CD IN SN SB TE I XE CS BA LA CE PR ND PM SM EU GD TB DY HO ER TM YB LU HF TA W RE OS IR PT AU "
    "HG TL PB BI PO AT RN FR RA AC TH PA U NP PU AM CM BK CF ES FM MD NO LR RF DB SG BH HS MT DS RG CN NH FL MC LV TS "
    "OG"
)
_ELEMENTS = _SYMBOLS.split()
_ELEMENT_BINS, _NAME_BINS, _NAME_LENGTH, _DISTANCE_BINS = 119, 64, 4, 39


@dataclass(frozen=True)
class Atoms:
    """The heavy atoms of a chain, one after the other."""

    # One item for each atom.
    names: tuple[str, ...]
    elements: tuple[str, ...]
    residue: np.ndarray  # Ndarray of int. The residue of each atom.
    # Ndarray of float32, shape ``(atoms, 3)``. Positions in the ideal conformer of the residue in the Chemical
    # Component Dictionary, in Angstrom.
    positions: np.ndarray
    charges: np.ndarray  # Ndarray of float32. Formal charges.

    def scattered(self, values: np.ndarray) -> np.ndarray:
        """Return values of atoms at AlphaFold's 37 atom types: shape ``(residues, 37, ...)``, zero elsewhere."""
        found = np.zeros((int(self.residue[-1]) + 1, len(ATOMS), *values.shape[1:]), np.float32)
        found[self.residue, [ATOMS.index(name) for name in self.names]] = values
        return found


def atoms_of(sequence: str) -> Atoms:
    """Return the heavy atoms of a chain, without OXT, which OpenFold3 removes from every residue."""
    found = []
    for number, letter in enumerate(sequence):
        for atom in components.residue(ProteinSequence.convert_letter_1to3(letter)):
            if atom.element not in ("H", "D") and atom.atom_name != "OXT":
                found.append((atom.atom_name, atom.element, number, atom.coord, float(atom.charge)))
    names, elements, residue, positions, charges = zip(*found, strict=True)
    return Atoms(names, elements, np.array(residue), np.array(positions, np.float32), np.array(charges, np.float32))


def features(query: Query, atoms: Atoms) -> dict[str, torch.Tensor]:
    """Return the features of one chain without templates, with a batch axis of length 1.

    Parameters
    ----------
    query : Query
        Sequence and alignment; all rows are used.
    atoms : Atoms
        Atoms of the sequence. Each residue's conformer is rotated and moved at random, as in OpenFold3.

    Returns
    -------
    dict of str to Tensor
        As `openfold3.projects.of3_all_atom.model.OpenFold3.forward` lists them.
    """
    found = {**_tokens(query, atoms), **reference(atoms), **_alignment(query), **no_template(query.residues)}
    return {name: value[None] for name, value in found.items()}


def _tokens(query: Query, atoms: Atoms) -> dict[str, torch.Tensor]:
    n = query.residues
    counts = torch.from_numpy(np.bincount(atoms.residue, minlength=n))
    ones, zeros = torch.ones(n, dtype=torch.int32), torch.zeros(n, dtype=torch.int32)
    return {
        "residue_index": torch.arange(1, n + 1, dtype=torch.int32),
        "token_index": torch.arange(n, dtype=torch.int32),
        "asym_id": ones,
        "entity_id": ones,
        "sym_id": ones,
        "restype": one_hot(_types(query.msa[0]), _TYPES).float(),
        "is_protein": ones,
        "is_rna": zeros,
        "is_dna": zeros,
        "is_ligand": zeros,
        "is_atomized": zeros,
        "token_mask": torch.ones(n),
        "token_bonds": torch.zeros(n, n, dtype=torch.int32),
        "num_atoms_per_token": counts.to(torch.int32),
        "start_atom_index": (torch.cumsum(counts, 0) - counts).to(torch.int32),
        "atom_to_token_index": torch.from_numpy(atoms.residue),
        "atom_mask": torch.ones(len(atoms.names)),
    }


def reference(atoms: Atoms) -> dict[str, torch.Tensor]:
    """Return the features of reference conformers, each rotated and moved at random, as in OpenFold3."""
    positions = torch.from_numpy(atoms.positions)
    moved = []
    for number in range(int(atoms.residue[-1]) + 1):
        part = positions[torch.from_numpy(atoms.residue == number)]
        moved.append(centre_random_augmentation(part, torch.ones(len(part))))
    elements = torch.tensor([_ELEMENTS.index(element.upper()) for element in atoms.elements])
    letters = torch.tensor([[ord(letter) - 32 for letter in name.ljust(_NAME_LENGTH)] for name in atoms.names])
    return {
        "ref_pos": torch.cat(moved),
        "ref_mask": torch.ones(len(atoms.names), dtype=torch.int32),
        "ref_element": one_hot(elements, _ELEMENT_BINS).float(),
        "ref_charge": torch.from_numpy(atoms.charges),
        "ref_atom_name_chars": one_hot(letters, _NAME_BINS).float(),
        "ref_space_uid": torch.from_numpy(atoms.residue).to(torch.int32),
    }


def _alignment(query: Query) -> dict[str, torch.Tensor]:
    letters = one_hot(_types(query.msa), _TYPES).float()
    deletions = torch.from_numpy(query.deletions).float()
    return {
        "msa": letters,
        "has_deletion": (deletions > 0).float(),
        "deletion_value": torch.atan(deletions / 3) * (2 / torch.pi),
        "deletion_mean": deletions.mean(dim=0),
        "profile": letters.mean(dim=0),
        "msa_mask": torch.ones(query.msa.shape),
        "num_paired_seqs": torch.tensor([1], dtype=torch.int32),
    }


def no_template(n: int) -> dict[str, torch.Tensor]:
    """Return the features of one template that is masked completely."""
    return {
        "template_restype": torch.zeros(1, n, _TYPES),
        "template_pseudo_beta_mask": torch.zeros(1, n),
        "template_backbone_frame_mask": torch.zeros(1, n),
        "template_distogram": torch.zeros(1, n, n, _DISTANCE_BINS),
        "template_unit_vector": torch.zeros(1, n, n, 3),
    }


def _types(letters: np.ndarray) -> torch.Tensor:
    table = np.full(256, AMINO_ACIDS.index("V") + 1)  # X, after the last amino acid
    for number, letter in enumerate(AMINO_ACIDS):
        table[ord(letter)] = number
    table[ord("-")] = _TYPES - 1
    return torch.from_numpy(table[letters])
