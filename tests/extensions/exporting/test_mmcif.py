"""mmCIF of a trace: a structure library reads it, and every number is that of the archive."""

from __future__ import annotations

import numpy as np
import pytest

import harness
from harness.cli import main
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace
from harness.trace.stream import MemoryTrace, read_whole
from harness.trace.structure import RESIDUES
from tests.outputs import af2_result, pickled

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


def one_chain(**changes) -> MemoryTrace:
    """A protein of 9 residues with 37 atom types, and arrays in place of its own."""
    trace = open_trace("synthetic:layers=1,heads=1,hidden_dim=4,pair_dim=4", 9)
    arrays = {spec.path: read_whole(trace, spec.path) for spec in trace.manifest.tensors}
    return MemoryTrace("one", trace.manifest, arrays | changes)


@pytest.mark.parametrize("value", [-0.0, 7.5, np.nan])
def test_what_the_mask_leaves_out_is_not_exported_and_that_is_said(value, tmp_path, capsys):
    own = one_chain()
    mask = read_whole(own, "structure/atom_mask") > 0
    positions = read_whole(own, "structure/atom_positions")
    positions[~mask] = value  # as AlphaFold2 leaves it
    structure = export(one_chain(**{"structure/atom_positions": positions}), tmp_path)
    assert np.array_equal(atoms(structure[0])[0], positions[mask])
    absent = f"leaves out {np.count_nonzero(~mask)} of {9 * 37} atoms, whose values are not exported"
    assert absent in " ".join(capsys.readouterr().out.split())


def test_confidences_of_residues_are_those_of_their_atoms(tmp_path):
    trace = one_chain()
    structure = export(trace, tmp_path)
    residue, _ = np.nonzero(read_whole(trace, "structure/atom_mask"))
    assert np.array_equal(atoms(structure[0])[1], read_whole(trace, "outputs/confidence_scores")[residue])


def complex_of(tmp_path, **added) -> str:
    """An archive of two chains with three atoms, without confidences but those that are added, with their axes."""
    path = tmp_path / "a.h5"
    with harness.create(path) as out:
        out["inputs/chains/name"] = np.array([[65], [66]], "u1")
        out["inputs/tokens/chain"] = np.array([0, 1], "i4")
        out["inputs/atoms/token"] = np.array([0, 1, 1], "i4")
        out.write("structure/atom_positions", np.arange(9, dtype="f4").reshape(3, 3), axes=("atom", "xyz"))
        for name, (array, axes) in added.items():
            out.write(name.replace("__", "/"), array, axes=axes)
    return str(path)


B_ITEM = ("structure__atom_site__B_iso_or_equiv", (np.array([90.5, 80.25, np.nan]), ("atom",)))
OF_TOKENS = ("outputs__token_plddts", (np.array([0.5, 0.25], "f4"), ("token",)))
OF_ATOMS = ("outputs__atom_plddts", (np.array([3, 2, 1], "f4"), ("atom",)))


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ([B_ITEM], ["90.5", "80.25", "?"]),
        ([OF_TOKENS], ["0.5", "0.25", "0.25"]),
        ([OF_TOKENS, B_ITEM, OF_ATOMS], ["3.0", "2.0", "1.0"]),
        ([OF_TOKENS, B_ITEM], ["90.5", "80.25", "?"]),
        ([], ["?", "?", "?"]),
    ],
)
def test_confidences_are_those_that_the_trace_has_or_unknown(added, expected, tmp_path, capsys):
    archive, out = complex_of(tmp_path, **dict(added)), tmp_path / "a.cif"
    assert main(["export", archive, str(out), "--layout", "mmcif"]) == 0
    block = gemmi.cif.read(str(out)).sole_block()
    assert list(block.find_values("_atom_site.B_iso_or_equiv")) == expected
    said = " ".join(capsys.readouterr().out.split())
    assert ("no confidences for structure/atom_positions: B_iso_or_equiv is ?" in said) is not added


def test_chains_of_an_alphafold2_multimer_are_chains(tmp_path):
    letters = list(RESIDUES)
    sequences = ["".join(letters[:5]), "".join(letters[5:7]), "".join(letters[:4])]
    content = af2_result(11) | {"seqs": sequences}
    path = pickled(tmp_path / "result_model_1.pkl", content)
    assert main(["convert", str(path), str(tmp_path / "a.h5")]) == 0
    out = tmp_path / "a.cif"
    assert main(["export", str(tmp_path / "a.h5"), str(out), "--layout", "mmcif"]) == 0
    model = gemmi.read_structure(str(out))[0]
    assert [chain.name for chain in model] == ["A", "B", "C"]
    own, mask = content["structure_module"], content["structure_module"]["final_atom_mask"] > 0
    start = 0
    for chain, sequence in zip(model, sequences, strict=True):
        of_chain = slice(start, start := start + len(sequence))
        present = np.flatnonzero(mask[of_chain].any(axis=1))
        assert [residue.seqid.num for residue in chain] == (present + 1).tolist()
        assert [residue.name for residue in chain] == [RESIDUES[sequence[place]] for place in present]
        places = [atom.pos.tolist() for residue in chain for atom in residue]
        assert np.array_equal(
            np.array(places, np.float32).reshape(-1, 3), own["final_atom_positions"][of_chain][mask[of_chain]]
        )


def test_a_trace_without_structure_says_so(tmp_path, capsys):
    archive = tmp_path / "a.h5"
    write_archive(
        open_trace("synthetic:values=noise,layers=1,heads=1,hidden_dim=4,pair_dim=4", 8), load_format("hdf5"), archive
    )
    assert main(["export", str(archive), str(tmp_path / "a.cif"), "--layout", "mmcif"]) == 2
    said = capsys.readouterr().err
    assert "positions of atoms" in said and "Traceback" not in said
    assert not (tmp_path / "a.cif").exists()
