"""Pickled results: every array where the schema has it, nothing run, nothing invented."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle

import h5py
import numpy as np
import pytest

from harness.errors import UsageError
from harness.foreign.containers import TORCH_BEFORE_ZIP
from harness.trace.manifest import Metadata
from harness.trace.schema import Role
from tests.outputs import N, af2_result, openfold_result, pickled, same, torch_save, values
from tests.program_outputs import imported, read_source


def expected_af2(content):
    """State, apart from the library, where each array has to be found."""
    representations, final = content["representations"], "activations/final"
    return {
        "structure/atom_positions": content["structure_module"]["final_atom_positions"],
        "structure/atom_mask": content["structure_module"]["final_atom_mask"],
        "structure/ptm": np.asarray(content["ptm"]),
        "outputs/iptm": np.asarray(content["iptm"]),
        "outputs/ranking_confidence": np.asarray(content["ranking_confidence"]),
        "outputs/confidence_scores": content["plddt"],
        "outputs/predicted_aligned_error": content["predicted_aligned_error"],
        "outputs/max_predicted_aligned_error": np.asarray(content["max_predicted_aligned_error"]),
        "outputs/aligned_confidence_probs": content["aligned_confidence_probs"],
        "outputs/distogram_logits": content["distogram"]["logits"],
        "outputs/distogram_bin_edges": content["distogram"]["bin_edges"],
        "outputs/masked_msa_logits": content["masked_msa"]["logits"],
        "outputs/predicted_lddt_logits": content["predicted_lddt"]["logits"],
        f"{final}/single_repr": representations["single"],
        f"{final}/pair_repr": representations["pair"],
        f"{final}/msa_repr": representations["msa"],
        f"{final}/msa_first_row": representations["msa_first_row"],
        "activations/structure_module/single_repr": representations["structure_module"],
    }


def test_a_result_of_alphafold2_is_mapped_whole(tmp_path, bring):
    content = af2_result()
    found, manifest = bring(pickled(tmp_path / "result_model_2_ptm_pred_0.pkl", content))
    same(found, expected_af2(content))
    assert manifest.metadata == Metadata(model_version="model_2_ptm_pred_0", num_residues=N, num_recycles=3)
    assert manifest.provenance.note == "left out (no numbers): comment, nothing"
    assert [spec.path for spec in manifest.with_role(Role.PAIR)] == ["activations/final/pair_repr"]
    assert [spec.path for spec in manifest.with_role(Role.SINGLE)] == ["activations/final/single_repr"]


def test_an_output_of_openfold_is_mapped_whole(tmp_path, bring):
    content = openfold_result()
    found, manifest = bring(pickled(tmp_path / "1UBQ_model_1_ptm_output_dict.pkl", content))
    expected = {
        "activations/final/msa_repr": content["msa"],
        "activations/final/pair_repr": content["pair"],
        "activations/final/single_repr": content["single"],
        "structure/trajectory_frames": content["sm"]["frames"],
        "structure/trajectory_positions": content["sm"]["positions"],
        "outputs/sm/angles": content["sm"]["angles"],  # the schema has no place for it; it keeps its name
        "structure/atom_positions": content["final_atom_positions"],
        "structure/atom_mask": content["final_atom_mask"],
        "outputs/confidence_scores": content["plddt"],
        "outputs/distogram_logits": content["distogram_logits"],
        "outputs/tm_logits": content["tm_logits"],
        "structure/ptm": content["ptm_score"],
        "outputs/predicted_aligned_error": content["predicted_aligned_error"],
    }
    same(found, expected)
    # The file's name runs name and preset together, so neither is known.
    assert manifest.metadata == Metadata(num_residues=N, num_recycles=3)


def test_frames_of_openfolds_multimer_are_matrices(tmp_path):
    """``Rigid3Array.to_tensor`` in openfold/utils/geometry/rigid_matrix_vector.py gives 4 by 4 where others give 7."""
    frames = values(1, 8, N, 4, 4)
    content = openfold_result() | {"final_affine_tensor": frames[-1]}
    content["sm"] = content["sm"] | {"frames": frames}
    found, manifest = imported(pickled(tmp_path / "x_output_dict.pkl", content))
    assert found["structure/trajectory_frames"].tobytes() == frames.tobytes()
    assert manifest["structure/trajectory_frames"].axes == ("block", "residue", "row", "column")
    assert manifest["structure/final_frames"].axes == ("residue", "row", "column")
    pickled(tmp_path / "x_output_dict.pkl", openfold_result() | {"final_affine_tensor": values(1, N, 7)})
    assert imported(tmp_path / "x_output_dict.pkl")[1]["structure/final_frames"].axes == ("residue", "frame")


def test_an_array_with_other_axes_than_its_place_keeps_its_name(tmp_path):
    content = openfold_result() | {"plddt": values(1, N, 37), "iptm": np.array([0.5, 0.25])}
    found, manifest = imported(pickled(tmp_path / "x_output_dict.pkl", content))
    assert found["outputs/plddt"].tobytes() == content["plddt"].tobytes()
    assert manifest["outputs/plddt"].axes == ("axis_0", "axis_1") and "outputs/confidence_scores" not in found
    assert found["outputs/iptm"].tolist() == [0.5, 0.25] and found["outputs/tm_logits"].shape == (N, N, 64)
    note = manifest.provenance.note or ""
    assert f"plddt has shape ({N}, 37), not axes residue: stored as outputs/plddt" in note
    assert "iptm has shape (2,), not axes none: stored as outputs/iptm" in note


def test_a_name_of_the_schema_with_other_axes_is_a_plain_array(tmp_path):
    content = {"plddt": values(1, N), "coordinates": values(2, N, 37, 3)}  # of the schema's, (residue xyz)
    found, manifest = imported(pickled(tmp_path / "x.pkl", content))
    assert found["outputs/coordinates"].tobytes() == content["coordinates"].tobytes()
    assert manifest["outputs/coordinates"].role is Role.ARRAY


def test_a_number_of_recycles_in_bfloat16_is_an_array_as_any(tmp_path, monkeypatch):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    recycles = np.array(3, ml_dtypes.bfloat16)
    path = pickled(tmp_path / "x.pkl", {"plddt": values(1, N), "num_recycles": recycles})
    monkeypatch.delitem(np.sctypeDict, "bfloat16")  # as before ml_dtypes is imported, which no reader does
    found, manifest = imported(path)
    assert found["outputs/num_recycles"].tobytes() == recycles.tobytes()
    assert manifest["outputs/num_recycles"].values == "bfloat16" and manifest.metadata.num_recycles is None


OTHER_CONTAINERS = {
    "zip of torch": lambda path: torch_save(path, {"x": values(1, N, N)}),
    "HDF5": lambda path: h5py.File(path, "w").create_dataset("x", data=values(1, N, N)).file.close(),
    "NPY": lambda path: path.write_bytes(npy_of(values(1, N, N))),
}


def npy_of(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["weights.pkl", "result_model_1.pkl", "job_all_rank_001_x.pickle"])
@pytest.mark.parametrize("kind", OTHER_CONTAINERS)
def test_a_container_that_is_called_as_a_pickle_is_read_as_what_it_is(tmp_path, kind, name):
    OTHER_CONTAINERS[kind](tmp_path / name)
    found, manifest = imported(tmp_path / name)
    assert [array.tobytes() for array in found.values()] == [values(1, N, N).tobytes()]
    assert "prediction-pickle" not in (manifest.provenance.importer or "")


def test_an_old_file_of_torch_that_is_called_as_a_pickle_is_told(tmp_path):
    (tmp_path / "weights.pkl").write_bytes(TORCH_BEFORE_ZIP + b"\x80\x02M\xe9\x03.")
    with pytest.raises(UsageError, match=r"torch's format before 1\.6"):
        read_source(tmp_path / "weights.pkl")


def test_what_the_source_does_not_say_stays_absent(tmp_path, bring):
    content = {"plddt": values(1, N), "ptm": [0.5]}  # some writers keep a score in a list
    content["not known"], content["ragged"] = [0.5, None], [[1], [2, 3]]  # null is NaN in a JSON alone
    found, manifest = bring(pickled(tmp_path / "all_rank_001.pickle", content))
    assert set(found) == {"outputs/confidence_scores", "structure/ptm"} and found["structure/ptm"] == 0.5
    assert manifest.metadata == Metadata(num_residues=N)
    facts = dataclasses.asdict(manifest.provenance)
    assert facts["trained"] is facts["seed"] is facts["bf16_born"] is None
    assert facts["note"] == "left out (no numbers): not known; left out (rows of unequal lengths): ragged"


def test_unknown_items_are_kept_under_their_names_where_a_tensor_may_have_them(tmp_path, bring):
    content = {"plddt": values(1, N), "mine": {"layer_007": values(2, 3)}, "flag": True}
    content |= {"big": values(3, 4).astype(">f8"), "a b": values(4, 2)}
    found, manifest = bring(pickled(tmp_path / "x.pkl", content))
    assert found["outputs/mine/layer_7"].tolist() == content["mine"]["layer_007"].tolist()
    assert found["outputs/flag"] == np.True_
    assert found["outputs/big"].tolist() == content["big"].tolist()  # stored little-endian
    assert manifest.provenance.note == "left out (no name that a tensor may have): a b"


def test_a_folder_gives_each_of_its_results_a_name(tmp_path, bring):
    (tmp_path / "job").mkdir()
    pickled(tmp_path / "job" / "result_model_1.pkl", af2_result())
    found, manifest = bring(tmp_path / "job", name="one.npz")
    same(found, expected_af2(af2_result()))
    assert manifest.metadata.model_version == "model_1"
    pickled(tmp_path / "job" / "result_model_2.pkl", af2_result() | {"num_recycles": np.array(5)})
    found, manifest = bring(tmp_path / "job", name="two.npz")
    assert set(found) == {
        path.replace("/", f"/model_{number}/", 1) for path in expected_af2(af2_result()) for number in (1, 2)
    }
    assert manifest.metadata.model_version is manifest.metadata.num_recycles is None
    assert "results of 3, 5 recycles" in (manifest.provenance.note or "")


class Runs:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("name", ["result_model_1.pkl", "x_output_dict.pkl", "anything.bin"])
def test_a_malicious_pickle_is_refused_by_name_and_not_run(tmp_path, refused, name):
    witness = tmp_path / "witness"
    path = pickled(tmp_path / name, {"plddt": 1.0, "x": Runs(os.system, f"touch {witness}")})
    refused(path, 1, name, "the pickle is refused: it asks for posix.system, which no array needs")
    refused(path, 1, name, options=("--kind", "prediction-pickle"))
    assert not witness.exists()


@pytest.mark.parametrize(
    ("damage", "code", "part"),
    [
        (lambda data: data[: len(data) // 2], 1, "truncated or damaged"),
        (lambda data: b"", 2, "is empty"),
        (lambda data: bytes(300), 1, "truncated or damaged"),
        (lambda data: data.replace(b"ndarray", b"ndarrax"), 1, "it asks for numpy.ndarrax"),
        (lambda data: pickle.dumps([1, 2]), 2, "not of a prediction"),
        (lambda data: pickle.dumps({"aatype": np.zeros(3), "msa_mask": np.zeros(3)}), 2, "not of a prediction"),
        (lambda data: pickle.dumps({"plddt": np.array(["a", "b"])}), 1, "holds no tensor"),
        (lambda data: pickle.dumps({"plddt": np.zeros(3), "single": np.zeros((4, 2))}), 1, "expected 3 residues"),
        (lambda data: pickle.dumps({"ptm": 0.5, "ptm_score": 0.5}), 1, "structure/ptm is also in"),
        (lambda data: pickle.dumps({"ptm": 0.5, "a": {"b": 1}, "a/b": 2}), 1, "holds two items named 'a/b'"),
        (lambda data: pickle.dumps({"ptm": 0.5, 1: 1, "1": 2}), 1, "holds two items named '1'"),
    ],
)
def test_a_broken_or_foreign_pickle_is_refused(tmp_path, refused, damage, code, part):
    path = pickled(tmp_path / "result_model_1.pkl", af2_result())
    path.write_bytes(damage(path.read_bytes()))
    refused(path, code, "result_model_1.pkl", part)


def test_the_real_results_are_mapped_whole(real_data, bring):
    folder = real_data / "alphapulldown_af2" / "P0DPR3_and_P0DPR3"
    for number in (1, 5):
        path = next(folder.glob(f"result_model_{number}_*.pkl"))
        content = pickle.loads(path.read_bytes())  # known to be harmless
        found, manifest = bring(path, name=f"{number}.npz")
        assert found["outputs/predicted_aligned_error"].tobytes() == content["predicted_aligned_error"].tobytes()
        assert found["outputs/distogram_logits"].tobytes() == content["distogram"]["logits"].tobytes()
        assert found["outputs/confidence_scores"].tolist() == content["plddt"].tolist()
        assert found["structure/ptm"] == content["ptm"]
        assert found["inputs/sequence"].tobytes().decode() == "".join(content["seqs"])
        assert manifest.metadata.num_recycles == int(content["num_recycles"])
        stored = sum(np.asarray(v).nbytes for v in _arrays(content))
        assert manifest.nbytes == stored + len("".join(content["seqs"]))


def _arrays(content):
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _arrays(value)
        elif key not in ("seqs", "num_recycles"):
            yield value
