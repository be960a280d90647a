"""Structures of predictors: modified residues as one token or many, and files of very many values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.extensions.importing import structures
from harness.foreign.conforming import schema_problems
from harness.foreign.source import SourceError
from harness.formats.base import load_format
from harness.formats.conversion import convert
from harness.trace.complexes import texts
from tests.program_outputs import imported, read_source

pytest.importorskip("gemmi", reason="comes with the extra structures")

ATOMS = (
    ("A", 1, "ALA", ("N", "CA")),
    ("A", 2, "MSE", ("N", "CA", "SE")),
    ("B", 1, "GOL", ("C1", "C2")),
)
HEAD = """data_job
loop_
_entity.id
_entity.type
1 polymer
2 non-polymer
loop_
_entity_poly.entity_id
_entity_poly.type
1 'polypeptide(L)'
loop_
_struct_asym.id
_struct_asym.entity_id
A 1
B 2
loop_
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.auth_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
"""


def boltz_folder(folder: Path, tokens: int) -> Path:
    folder.mkdir()
    rows = [(name[:1], name, code, chain, number) for chain, number, code, names in ATOMS for name in names]
    lines = [" ".join(map(str, (*row, k + 0.5, 1.5, -k))) for k, row in enumerate(rows)]
    (folder / "job_model_0.cif").write_text(HEAD + "\n".join(lines) + "\n")
    np.savez(folder / "plddt_job_model_0.npz", plddt=np.linspace(0, 1, tokens, dtype=np.float32))
    return folder


@pytest.mark.parametrize(
    ("tokens", "of_atoms", "ends"),
    [(6, [0, 0, 1, 2, 3, 4, 5], [4, 6]), (4, [0, 0, 1, 1, 1, 2, 3], [2, 4])],
)
def test_the_arrays_decide_what_a_modified_residue_is(tokens, of_atoms, ends, tmp_path):
    found, manifest = imported(boltz_folder(tmp_path / "job", tokens))
    assert found["inputs/atoms/token"].tolist() == of_atoms
    assert [chain.stop for chain in manifest.chains] == ends
    assert [chain.kind for chain in manifest.chains] == ["protein", "ligand"]
    components = texts(found["inputs/tokens/component"])
    assert len(components) == tokens and components.count("MSE") == (3 if tokens == 6 else 1)


def test_chains_and_atoms_are_kept_where_tokens_are_not_known(tmp_path):
    folder = boltz_folder(tmp_path / "job", 5)
    found, manifest = imported(folder)
    assert "the atoms are not of the 5 tokens that arrays have): tokens" in (manifest.provenance.note or "")
    assert texts(found["inputs/chains/name"]) == ["A", "B"] and texts(found["inputs/atoms/name"])[4] == "SE"
    assert not manifest.chains and "inputs/atoms/token" not in found
    assert not any(path.startswith("inputs/tokens/") for path in found)
    convert(read_source(folder), load_format("hdf5"), tmp_path / "a.h5", "tuned")
    assert schema_problems(tmp_path / "a.h5") == []


@pytest.mark.parametrize("piece", [1 << 24, 7])
def test_a_file_of_very_many_values_is_refused_before_they_are_held(piece, tmp_path, monkeypatch):
    folder = boltz_folder(tmp_path / "job", 4)
    path = folder / "job_model_0.cif"
    count = len(path.read_text().split())
    monkeypatch.setattr(structures, "_PIECE", piece)
    monkeypatch.setattr(structures, "_MOST_VALUES", count)
    assert imported(folder)[1].chains
    monkeypatch.setattr(structures, "_MOST_VALUES", count - 1)
    with pytest.raises(SourceError, match=rf"job_model_0.cif: it holds more than {count - 1:,} values"):
        read_source(folder)
