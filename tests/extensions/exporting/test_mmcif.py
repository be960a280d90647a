"""mmCIF of a trace: a structure library reads it, and every number is that of the archive."""

from __future__ import annotations

import numpy as np
import pytest

from harness.cli import main
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace
from harness.trace.stream import read_whole

gemmi = pytest.importorskip("gemmi", reason="comes with the extra structures")
pytest.importorskip("harness.extensions.complexes", reason="the traces are those of another extension")

COMPLEX = (
    "synthetic:model=af3,layers=1,heads=1,single_dim=4,pair_dim=2,steps=1,diffusion_layers=1,diffusion_dim=4,samples=2"
)


def export(trace, tmp_path):
    archive, out = tmp_path / "a.h5", tmp_path / "a.cif"
    write_archive(trace, load_format("hdf5"), archive)
    assert main(["export", str(archive), str(out), "--layout", "mmcif"]) == 0
    return gemmi.read_structure(str(out))


def atoms(model) -> tuple[np.ndarray, np.ndarray]:
    found = [atom for chain in model for residue in chain for atom in residue]
    places = np.array([atom.pos.tolist() for atom in found]).astype(np.float32)
    return places, np.array([atom.b_iso for atom in found], np.float32)


@pytest.mark.parametrize("seeds", [1, 2])
def test_each_sample_of_each_seed_is_a_model_with_equal_numbers(seeds, tmp_path):
    trace = open_trace(f"{COMPLEX},seeds={seeds}", 30)
    structure = export(trace, tmp_path)
    assert len(structure) == 2 * seeds
    assert [chain.name for chain in structure[0]] == ["A", "B", "C"]
    for number, model in enumerate(structure):
        seed = f"seed_{number // 2}/" if seeds > 1 else ""
        places, scores = atoms(model)
        assert np.array_equal(places, read_whole(trace, f"structure/{seed}atom_positions")[number % 2])
        assert np.array_equal(scores, read_whole(trace, f"outputs/{seed}atom_plddts")[number % 2])
    ligand = structure[0]["C"]
    assert all(residue.name == "LIG" and residue.het_flag == "H" for residue in ligand)


def test_a_protein_of_37_atom_types_is_a_chain(tmp_path):
    trace = open_trace("synthetic:layers=1,heads=1,hidden_dim=4,pair_dim=4", 9)
    structure = export(trace, tmp_path)
    mask = read_whole(trace, "structure/atom_mask") > 0
    places, _ = atoms(structure[0])
    assert np.array_equal(places, read_whole(trace, "structure/atom_positions")[mask])
    assert len(structure[0]["A"]) == 9


def test_a_trace_without_structure_says_so(tmp_path, capsys):
    archive = tmp_path / "a.h5"
    write_archive(
        open_trace("synthetic:values=noise,layers=1,heads=1,hidden_dim=4,pair_dim=4", 8), load_format("hdf5"), archive
    )
    assert main(["export", str(archive), str(tmp_path / "a.cif"), "--layout", "mmcif"]) == 2
    said = capsys.readouterr().err
    assert "positions of atoms" in said and "Traceback" not in said
    assert not (tmp_path / "a.cif").exists()
