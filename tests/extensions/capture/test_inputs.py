"""A chain and its alignment are read, or refused in one sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.extensions.capture.inputs import read_query

SEQUENCE = "ACDEFG"


def files(
    folder: Path, fasta: str = f">one chain\n{SEQUENCE[:3]}\n{SEQUENCE[3:].lower()}\n", **alignments: str
) -> Path:
    """Write a FASTA file and a folder of alignments beside it."""
    (folder / "msa").mkdir()
    (folder / "q.fasta").write_text(fasta)
    for name, text in alignments.items():
        (folder / "msa" / f"{name}.a3m").write_text(text)
    return folder / "q.fasta"


def letters(row: np.ndarray) -> str:
    return row.tobytes().decode()


def test_an_alignment_is_joined_without_repeats_and_insertions_are_counted(tmp_path):
    a = f"#comment\n>q\n{SEQUENCE}\n>insertions\nACkkDE-Gwww\n>again\n{SEQUENCE}\n"
    b = f">q\n{SEQUENCE}\n>gaps\n--\nDEFG\n"
    query = read_query(files(tmp_path, a=a, b=b), tmp_path / "msa")
    assert (query.name, query.sequence, query.residues) == ("one chain", SEQUENCE, 6)
    assert [letters(row) for row in query.msa] == [SEQUENCE, "ACDE-G", "--DEFG"]
    assert query.deletions.tolist() == [[0] * 6, [0, 0, 2, 0, 0, 0], [0] * 6]
    assert query.files == tuple(
        (f"{name}.a3m", hashlib.sha256(text.encode()).hexdigest()) for name, text in (("a", a), ("b", b))
    )
    assert [letters(row) for row in query.first_rows(2).msa] == [SEQUENCE, "ACDE-G"]
    assert len(query.first_rows(9).msa) == 3


def test_without_alignments_the_sequence_stands_alone(tmp_path):
    query = read_query(files(tmp_path), None)
    assert query.msa.shape == (1, 6) and letters(query.msa[0]) == SEQUENCE and query.files == ()


def test_the_real_alignment_of_ubiquitin(real_data):
    folder = real_data / "1ubq_inputs"
    if not folder.is_dir():
        pytest.skip("HARNESS_DATA has no 1ubq_inputs")
    query = read_query(folder / "1UBQ.fasta", folder)
    assert query.residues == 76 and query.msa.shape[1] == 76 and len(query.msa) > 100
    assert len({row.tobytes() for row in query.msa}) == len(query.msa)
    assert query.deletions.shape == query.msa.shape and not query.deletions[0].any() and query.deletions.any()


@pytest.mark.parametrize(
    ("fasta", "said"),
    [
        (">a\nACD\n>b\nACD\n", "holds 2 sequences, and one chain is wanted"),
        ("", "holds 0 sequences"),
        (">a\n", "has no sequence for it"),
        (">a\nACB\n", "'B' at residue 2 is not an amino acid"),
        ("ACD\n", "does not start with a line '>name'"),
        (">é\nACD\n", "is not a text file of sequences"),
    ],
)
def test_a_fasta_file_with_anything_but_one_chain_is_refused(tmp_path, fasta, said):
    with pytest.raises(UsageError, match=said):
        read_query(files(tmp_path, fasta), None)


@pytest.mark.parametrize(
    ("alignment", "said"),
    [
        (">q\nACDEFA\n", "its first row has A at residue 5, the sequence G"),
        (">q\nACDEF\n", "its first row has 5 residues, the sequence 6"),
        (f">q\n{SEQUENCE}\n>b\nACDEF\n", "row 1 has 5 aligned places, and the sequence 6"),
        (f">q\n{SEQUENCE}\n>b\nACDEF*\n", r"row 1 holds '\*'"),
    ],
)
def test_an_alignment_that_does_not_match_is_refused(tmp_path, alignment, said):
    with pytest.raises(UsageError, match=said):
        read_query(files(tmp_path, a=alignment), tmp_path / "msa")


def test_a_folder_without_alignments_is_refused_with_what_is_there(tmp_path):
    fasta = files(tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        read_query(fasta, fasta)
    with pytest.raises(UsageError, match=r"holds no \.a3m file, nothing: convert"):
        read_query(fasta, tmp_path / "msa")
    (tmp_path / "msa" / "hits.sto").touch()
    with pytest.raises(UsageError, match=r"holds no \.a3m file, only hits\.sto"):
        read_query(fasta, tmp_path / "msa")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_query(tmp_path / "absent.fasta", None)
