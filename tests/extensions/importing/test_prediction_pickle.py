"""Pickled results: every array where the schema has it, nothing run, nothing invented."""

from __future__ import annotations

import dataclasses
import os
import pickle

import numpy as np
import pytest

from harness.trace.manifest import Metadata
from harness.trace.schema import Role
from tests.outputs import N, af2_result, openfold_result, pickled, same, values


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


def test_what_the_source_does_not_say_stays_absent(tmp_path, bring):
    content = {"plddt": values(1, N), "ptm": [0.5]}  # some writers keep a score in a list
    content["not known"] = [0.5, None]  # null is NaN in a JSON alone
    found, manifest = bring(pickled(tmp_path / "all_rank_001.pickle", content))
    assert set(found) == {"outputs/confidence_scores", "structure/ptm"} and found["structure/ptm"] == 0.5
    assert manifest.metadata == Metadata(num_residues=N)
    facts = dataclasses.asdict(manifest.provenance)
    assert facts["trained"] is facts["seed"] is facts["bf16_born"] is None
    assert facts["note"] == "left out (no numbers): not known"


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
        (lambda data: pickle.dumps({"plddt": np.zeros((3, 4))}), 1, "expected one axis name for each of 2 axes"),
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
