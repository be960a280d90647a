"""Synthetic chain: sequence, alignment, atoms and confidences that agree with each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from harness.trace.random import Stream

_ATOM_NAMES = (
    "N CA C CB O CG CG1 CG2 OG OG1 SG CD CD1 CD2 ND1 ND2 OD1 OD2 SD CE CE1 CE2 CE3 NE NE1 NE2 OE1 OE2 CH2 NH1 NH2 OH "
    "CZ CZ2 CZ3 NZ OXT"
)
ATOMS = tuple(_ATOM_NAMES.split())  # AlphaFold's 37 atom types, in its order

STEP = 3.8  # distance between neighbouring alpha carbons, in Angstrom

_SIDE_CHAINS = {
    "A": "CB",
    "R": "CB CG CD NE CZ NH1 NH2",
    "N": "CB CG OD1 ND2",
    "D": "CB CG OD1 OD2",
    "C": "CB SG",
    "Q": "CB CG CD OE1 NE2",
    "E": "CB CG CD OE1 OE2",
    "G": "",
    "H": "CB CG ND1 CD2 CE1 NE2",
    "I": "CB CG1 CG2 CD1",
    "L": "CB CG CD1 CD2",
    "K": "CB CG CD CE NZ",
    "M": "CB CG SD CE",
    "F": "CB CG CD1 CD2 CE1 CE2 CZ",
    "P": "CB CG CD",
    "S": "CB OG",
    "T": "CB OG1 CG2",
    "W": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "Y": "CB CG CD1 CD2 CE1 CE2 CZ OH",
    "V": "CB CG1 CG2",
}

_RESIDUE_NAMES = "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL"
RESIDUES = dict(zip("ARNDCQEGHILKMFPSTWYV", _RESIDUE_NAMES.split(), strict=True))
"""Names of amino acids in the Chemical Component Dictionary, by their letters."""

# One letter for each per cent of the residues in UniProtKB/Swiss-Prot, rounded.
_FREQUENT = "AAAAAAAARRRRRRNNNNDDDDDCQQQQEEEEEEEGGGGGGGHHIIIIIILLLLLLLLLLKKKKKKMMFFFFPPPPPSSSSSSSTTTTTWYYYVVVVVVV"

_FIXED = float(1 << 20)


def sequence(seed: int, n: int) -> np.ndarray:
    """Draw amino acids in their natural frequencies, as ASCII letters of dtype uint8 and shape ``(n,)``."""
    return _letters(Stream(seed, "sequence").words(n))


def _letters(words: np.ndarray) -> np.ndarray:
    alphabet = np.frombuffer(_FREQUENT.encode(), np.uint8)
    return alphabet[words.astype(np.int64) * len(alphabet) >> 16]


def msa_rows(seed: int, n: int, start: int, stop: int) -> np.ndarray:
    """Draw rows of an alignment: the sequence itself, then relatives of it with gaps.

    Parameters
    ----------
    seed, n : int
        Seed and number of residues.
    start, stop : int
        Range of rows.

    Returns
    -------
    ndarray of uint8
        ASCII letters and ``-``, shape ``(stop - start, n)``.
    """
    rows = np.tile(sequence(seed, n), (stop - start, 1))
    stream = Stream(seed, "msa")
    for k in range(max(start, 1), stop):
        fate, letters = stream.words(2 * n, k).reshape(2, n)
        # 60 % of the places are conserved, 30 % mutated and 10 % gaps.
        rows[k - start] = np.where(fate < 39322, rows[k - start], np.where(fate < 58982, _letters(letters), ord("-")))
    return rows


def alpha_carbons(seed: int, n: int) -> np.ndarray:
    """Draw a smooth chain in steps of `STEP`: positions in Angstrom, float32 of shape ``(n, 3)``."""
    noise = Stream(seed, "chain").normal((n + 3, 3)).astype(np.float64)
    heading = noise[:-3] + noise[1:-2] + noise[2:-1] + noise[3:]
    x, y, z = heading.T
    step = heading / np.sqrt(x * x + y * y + z * z)[:, None] * STEP
    # Fixed-point numbers add up to the same total in any order.
    fixed = np.rint(step * _FIXED).astype(np.int64)
    return (np.cumsum(fixed, axis=0) / _FIXED).astype(np.float32)


def atom_mask(seed: int, n: int) -> np.ndarray:
    """Mark the atoms that each residue has, float32 of shape ``(n, 37)``."""
    table = np.zeros((256, len(ATOMS)), np.float32)
    for letter, side in _SIDE_CHAINS.items():
        table[ord(letter), [ATOMS.index(atom) for atom in ["N", "CA", "C", "O", *side.split()]]] = 1
    mask = table[sequence(seed, n)]
    mask[-1, ATOMS.index("OXT")] = 1
    return mask


def atom_positions(seed: int, n: int) -> np.ndarray:
    """Place atoms around the alpha carbons, in Angstrom, float32 of shape ``(n, 37, 3)``.

    Absent atoms are at the origin, as in AlphaFold's output.
    """
    around = Stream(seed, "atoms").normal((n, len(ATOMS), 3)) * np.float32(1.2)
    around[:, ATOMS.index("CA")] = 0
    return np.where(atom_mask(seed, n)[..., None] > 0, around + alpha_carbons(seed, n)[:, None], np.float32(0))


def confidences(seed: int, n: int) -> np.ndarray:
    """Draw a confidence per residue, 0 to 100 and mostly high, that changes slowly along the chain; float32."""
    noise = Stream(seed, "confidence").normal((n + 3,))
    smooth = (noise[:-3] + noise[1:-2] + noise[2:-1] + noise[3:]) * np.float32(4)
    return np.clip(np.float32(88) + smooth, np.float32(20), np.float32(98.9))


def ptm(seed: int, n: int) -> np.ndarray:
    """Draw a predicted TM score between 0.5 and 0.95; a float32 scalar."""
    return (np.float32(0.5) + Stream(seed, "ptm").words(1)[0] * np.float32(0.45 / 65536)).astype(np.float32).reshape(())


TENSORS: Mapping[str, Callable[[int, int], np.ndarray]] = {
    "inputs/sequence": sequence,
    "structure/atom_positions": atom_positions,
    "structure/atom_mask": atom_mask,
    "structure/ptm": ptm,
    "outputs/coordinates": alpha_carbons,
    "outputs/confidence_scores": confidences,
}
"""Functions that generate these tensors from a seed and a number of residues."""
