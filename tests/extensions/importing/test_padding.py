"""ColabFold pads the shorter queries of a batch: what its scores say is no residue is cut off, and nothing else is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.foreign.source import SourceError
from tests.outputs import N, pickled, same, values
from tests.program_outputs import Arrays, imported, json_file, read_source, rounded

PADDED = N + 10
TAG = "rank_{:03d}_alphafold2_ptm_model_1_seed_000"


def scores(folder: Path, rank: int = 1, residues: int = N) -> Arrays:
    """The scores of a rank, which are never padded."""
    plddt, pae = rounded(rank, residues), rounded(rank + 2, residues, residues)
    content = {"plddt": plddt.tolist(), "max_pae": 31.5, "pae": pae.tolist(), "ptm": 0.5}
    json_file(folder / f"job_scores_{TAG.format(rank)}.json", content)
    return {
        "outputs/confidence_scores": plddt,
        "outputs/max_predicted_aligned_error": np.array(31.5),
        "outputs/predicted_aligned_error": pae,
        "structure/ptm": np.array(0.5),
    }


def representations(folder: Path, rank: int = 1) -> Arrays:
    """What ``--save-single-representations`` and ``--save-pair-representations`` write, padded."""
    single, pair = values(3, PADDED, 6), values(4, PADDED, PADDED, 4)
    np.save(folder / f"job_single_repr_{TAG.format(rank)}.npy", single)
    np.save(folder / f"job_pair_repr_{TAG.format(rank)}.npy", pair)
    return {"activations/final/single_repr": single, "activations/final/pair_repr": pair}


def result(folder: Path, rank: int = 1) -> Path:
    """What ``--save-all`` writes, padded."""
    trunk = {"single": values(3, PADDED, 6), "pair": values(4, PADDED, PADDED, 4), "msa": values(5, 4, PADDED, 7)}
    content = {"plddt": values(6, PADDED), "representations": trunk, "ptm": 0.25, "other": values(7, PADDED)}
    return pickled(folder / f"job_all_{TAG.format(rank)}.pickle", content)


def test_padded_representations_are_cut_to_the_residues_of_their_scores(tmp_path):
    padded, expected = representations(tmp_path), scores(tmp_path)
    expected |= {
        "activations/final/single_repr": padded["activations/final/single_repr"][:N],
        "activations/final/pair_repr": padded["activations/final/pair_repr"][:N, :N],
    }
    found, manifest = imported(tmp_path)
    same(found, expected)
    assert manifest.metadata.num_residues == N
    note = manifest.provenance.note or ""
    for name in ("single", "pair"):
        told = f"10 padded rows cut off job_{name}_repr_{TAG.format(1)}.npy: job_scores_{TAG.format(1)}.json has {N}"
        assert told in note


def test_a_padded_result_is_cut_and_read_by_index(tmp_path):
    result(tmp_path)
    scores(tmp_path)
    found, manifest = imported(tmp_path)
    assert found["outputs/confidence_scores"].tobytes() == values(6, PADDED)[:N].tobytes()
    assert found["activations/final/msa_repr"].tobytes() == values(5, 4, PADDED, 7)[:, :N].tobytes()
    assert found["outputs/other"].shape == (PADDED,)  # of which nothing says that it has residues
    assert f"10 padded rows cut off job_all_{TAG.format(1)}.pickle" in (manifest.provenance.note or "")
    with harness.open(tmp_path) as trace:
        pair = trace["activations/final/pair_repr"]
        assert (pair[2:5, -1, ::2] == values(4, PADDED, PADDED, 4)[2:5, N - 1, ::2]).all()


def test_without_the_scores_of_the_same_rank_the_cause_is_said(tmp_path):
    representations(tmp_path, 1)
    scores(tmp_path, 2)
    with pytest.raises(SourceError, match=rf"single_repr_rank_001.* has {PADDED} residues where .*{N}: ColabFold pads"):
        read_source(tmp_path)


def test_what_no_file_says_is_padded_keeps_its_rows(tmp_path):
    expected = representations(tmp_path)
    found, manifest = imported(tmp_path)
    same(found, expected)
    assert "padded" not in (manifest.provenance.note or "")
    # Nor is a file alone cut by one beside it.
    scores(tmp_path)
    alone = tmp_path / f"job_single_repr_{TAG.format(1)}.npy"
    assert imported(alone)[0]["activations/final/single_repr"].shape == (PADDED, 6)


@pytest.mark.parametrize("residues", [PADDED, PADDED + 1])
def test_scores_of_as_many_residues_or_more_cut_nothing(tmp_path, residues):
    expected = representations(tmp_path) | scores(tmp_path, residues=residues)
    if residues == PADDED:
        same(imported(tmp_path)[0], expected)
    else:
        with pytest.raises(SourceError, match=f"expected {residues} residues|expected {PADDED} residues"):
            read_source(tmp_path)


def test_arrays_of_several_lengths_in_one_file_are_not_cut(tmp_path):
    path = result(tmp_path)
    scores(tmp_path)
    pickled(path, {"plddt": values(1, PADDED), "representations": {"single": values(2, PADDED + 1, 6)}})
    with pytest.raises(SourceError, match=f"expected {PADDED} residues"):
        read_source(tmp_path)


def test_real_scores_with_representations_of_a_batch(real_data, tmp_path):
    folder = real_data / "colabfold_pdl1"
    name = next(path.name for path in folder.glob("*_scores_rank_001_*.json"))
    shutil.copy(folder / name, tmp_path)
    residues = imported(tmp_path)[1].metadata.num_residues
    assert residues
    single = values(1, residues + 9, 4)
    np.save(tmp_path / name.replace("_scores_", "_single_repr_").replace(".json", ".npy"), single)
    assert imported(tmp_path)[0]["activations/final/single_repr"].tobytes() == single[:residues].tobytes()
