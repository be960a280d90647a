"""Input of a model: one protein chain from a FASTA file, and its alignment from a folder of a3m files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.errors import UsageError
from harness.files import read_bytes

AMINO_ACIDS = "ARNDCQEGHILKMFPSTWYV"
"""The 20 letters in AlphaFold's order: the index of a letter is its residue type."""
_LETTERS = frozenset(AMINO_ACIDS + "X")
_ALIGNED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ-")
_MOST = 2 << 30  # bytes of a file; an alignment of some 100,000 rows
_SHOWN = 10  # file names in a message


@dataclass(frozen=True, kw_only=True)
class Query:
    """A chain and its alignment."""

    name: str  # The FASTA header without its ``>``.
    sequence: str  # One letter per residue.
    # Ndarray of uint8. ASCII letters and ``-``, shape ``(rows, residues)``; the first row is the sequence.
    msa: np.ndarray
    # Ndarray of int32, shape ``(rows, residues)``. Number of residues of each row that were left out before each place.
    deletions: np.ndarray
    # Name and SHA-256 of every alignment file that was read; empty for a single-sequence alignment.
    files: tuple[tuple[str, str], ...]

    @property
    def residues(self) -> int:
        """Length of the chain."""
        return len(self.sequence)

    def first_rows(self, depth: int) -> Query:
        """Return the same query with at most `depth` rows of its alignment, the sequence first."""
        return replace(self, msa=self.msa[:depth], deletions=self.deletions[:depth])


def read_query(fasta: Path, alignments: Path | None) -> Query:
    """Read a chain and its alignment.

    Parameters
    ----------
    fasta : Path
        A file with exactly one protein chain.
    alignments : Path or None
        A folder whose ``.a3m`` files are joined in the order of their names, without repeated rows; None for an
        alignment of the sequence alone.

    Returns
    -------
    Query
        Every row is as long as the chain.

    Raises
    ------
    UsageError
        If a file cannot be read, there is not exactly one chain, or an alignment is of another sequence.
    """
    name, sequence = _read_chain(fasta)
    rows = [(sequence, np.zeros(len(sequence), np.int32))]
    files = []
    for path in _alignment_files(alignments) if alignments is not None else []:
        text = _read_text(path)
        files.append((path.name, hashlib.sha256(text.encode()).hexdigest()))
        rows += _aligned_rows(path, text, sequence, fasta)
    unique: dict[str, np.ndarray] = {}
    for letters, deleted in rows:
        unique.setdefault(letters, deleted)
    return Query(
        name=name,
        sequence=sequence,
        msa=np.array([np.frombuffer(letters.encode(), np.uint8) for letters in unique]),
        deletions=np.array(list(unique.values())),
        files=tuple(files),
    )


def _read_text(path: Path) -> str:
    try:
        return read_bytes(path, _MOST).decode("ascii")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a text file of sequences.") from error


def _entries(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Yield header and sequence of every entry of a FASTA or a3m file."""
    header: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(">"):
            if header is not None:
                yield header, "".join(lines)
            header, lines = line[1:].strip(), []
        elif line.strip() and not line.startswith(("#", ";")):
            if header is None:
                raise UsageError(f"{path} does not start with a line '>name': it is not a FASTA or a3m file.")
            lines.append(line.strip())
    if header is not None:
        yield header, "".join(lines)


def _read_chain(fasta: Path) -> tuple[str, str]:
    entries = list(_entries(fasta, _read_text(fasta)))
    if len(entries) != 1:
        raise UsageError(f"{fasta} holds {len(entries)} sequences, and one chain is wanted: leave one in it.")
    name, sequence = entries[0][0], entries[0][1].upper()
    if not sequence:
        raise UsageError(f"{fasta} names the chain {name!r} and has no sequence for it.")
    for place, letter in enumerate(sequence):
        if letter not in _LETTERS:
            raise UsageError(
                f"{fasta}: {letter!r} at residue {place} is not an amino acid; the letters are {AMINO_ACIDS}, and X "
                "for an unknown one."
            )
    return name, sequence


def _alignment_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"--alignments takes a folder of .a3m files; {folder} is not a folder.")
    files = sorted(folder.glob("*.a3m"))
    if not files:
        found = sorted(path.name for path in folder.iterdir())
        shown = f"only {', '.join(found[:_SHOWN])}" if found else "nothing"
        raise UsageError(f"{folder} holds no .a3m file, {shown}: convert an alignment to a3m and put it there.")
    return files


def _aligned_rows(path: Path, text: str, sequence: str, fasta: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield letters and deletion counts of each row of an a3m file; lower-case letters are insertions, left out."""
    for number, (_, row) in enumerate(_entries(path, text)):
        places = np.frombuffer(row.replace(".", "").encode(), np.uint8)
        inserted = (places >= ord("a")) & (places <= ord("z"))
        letters = places[~inserted].tobytes().decode()
        if number == 0 and letters != sequence:
            raise UsageError(f"{path} is not an alignment of {fasta}: {_difference(letters, sequence)}.")
        if len(letters) != len(sequence):
            raise UsageError(
                f"{path}: row {number} has {len(letters)} aligned places, and the sequence {len(sequence)} residues."
            )
        if stray := set(letters) - _ALIGNED:
            raise UsageError(f"{path}: row {number} holds {min(stray)!r}, which is not a letter of an alignment.")
        yield letters, np.diff(np.cumsum(inserted)[~inserted], prepend=0).astype(np.int32)


def _difference(letters: str, sequence: str) -> str:
    if len(letters) != len(sequence):
        return f"its first row has {len(letters)} residues, the sequence {len(sequence)}"
    place = next(k for k, (one, other) in enumerate(zip(letters, sequence, strict=True)) if one != other)
    return f"its first row has {letters[place]} at residue {place}, the sequence {sequence[place]}"
