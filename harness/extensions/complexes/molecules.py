"""The molecules of a synthetic complex: protein chains and ligands, with their tokens and heavy atoms."""

from __future__ import annotations

import numpy as np

from harness.extensions.complexes.parameters import ComplexParameters
from harness.trace import structure
from harness.trace.chains import Chain, chain_letters
from harness.trace.complexes import Complex, letters
from harness.trace.random import Stream

_LIGAND_ATOMS = 20


def make_complex(p: ComplexParameters) -> Complex:
    """Make protein chains of nearly equal length, then ligands, with all of their heavy atoms."""
    size = 0
    if p.ligands:
        size = max(1, min(_LIGAND_ATOMS, p.tokens // (2 * p.ligands), (p.tokens - p.chains) // p.ligands))
    residues = p.tokens - size * p.ligands
    lengths = [residues // p.chains + (k < residues % p.chains) for k in range(p.chains)]
    ends = np.cumsum([0, *lengths, *[size] * p.ligands]).tolist()
    chains = tuple(
        Chain(
            name=chain_letters(k), kind="protein" if k < p.chains else "ligand", start=ends[k], stop=ends[k + 1],
            entity=str(k + 1),
        )
        for k in range(len(ends) - 1)
    )  # fmt: skip
    sequence = structure.sequence(p.seed, residues)
    mask = structure.atom_mask(p.seed, residues)
    of_residue, kinds = np.nonzero(mask)
    positions = structure.atom_positions(p.seed, residues)[of_residue, kinds]
    count = size * p.ligands
    added = Stream(p.seed, "ligands").normal((count, 3)) * np.float32(3)
    index = np.repeat(np.arange(len(chains), dtype=np.int32), [chain.stop - chain.start for chain in chains])
    start = np.array([chain.start for chain in chains], np.int32)[index]
    tokens = {
        "chain": index,
        "residue_index": np.where(np.arange(p.tokens) < residues, np.arange(p.tokens) - start + 1, 1).astype(np.int32),
        "component": letters([*(structure.RESIDUES[chr(letter)] for letter in sequence), *["LIG"] * count]),
    }
    names = [*(structure.ATOMS[kind] for kind in kinds), *(f"C{k % size + 1}" for k in range(count))]
    near = positions[len(positions) // 2]
    atoms = {
        "token": np.concatenate((of_residue, np.arange(residues, p.tokens))).astype(np.int32),
        "name": letters(names),
        "element": letters([name[0] for name in names]),
        "reference_position": np.concatenate((positions, near + added)).astype(np.float32),
    }
    return Complex(chains=chains, tokens=tokens, atoms=atoms)
