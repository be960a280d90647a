"""Folders and files of structure predictors: every array at its place, everything else named with its reason."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numcodecs
import numpy as np
import pytest

from harness import limits
from harness.cli import main
from harness.errors import UsageError
from harness.extensions.importing.file_contents import FileContent
from harness.extensions.importing.predictions import _OneFile
from harness.files import DOCUMENT
from harness.foreign.conforming import schema_problems
from harness.foreign.source import ForeignArray, SourceError
from harness.formats.archive import open_archive, verify_archive
from harness.formats.base import load_format
from harness.formats.conversion import convert
from harness.trace.schema import Role
from tests.outputs import N, pickled, same, values
from tests.program_outputs import PROGRAMS, imported, json_file, read_source

LEFT = {
    "AlphaFold3": (
        "left out (the input of the job, which stays in its file): bondedAtomPairs, name, sequences, userCCD",
        "left out (the same bytes as seed-7_sample-0/job_seed-7_sample-0_confidences.json): job_confidences.json",
        "left out (text): TERMS_OF_USE.md",
        "chain_ptm is of A, B",
        "null in the file is NaN in chain_iptm",
    ),
    "AlphaFold server": ("left out (the input of the job, as text): fold_job_job_request.json",),
    "Boltz": ("pair_chains_iptm is of 0, 1",),
    "OpenFold3": ("left out (times): seed_42/timing.json", "left out (empty): bespoke_iptm"),
    "ColabFold": ("left out (sequences, as text): job.a3m", "ColabFold 1.5.5"),
    "AlphaFold2": ("left out (scores and times by names of models): ranking_debug.json", "chains of 5, 6 residues"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_folder_is_mapped_whole(tmp_path, program):
    kind, make = PROGRAMS[program]
    folder, expected = make(tmp_path / "made")
    found, manifest = imported(folder)  # its kind is found by content
    same(found, expected)
    note = manifest.provenance.note or ""
    assert f", {kind}" in (manifest.provenance.importer or "")
    assert [part for part in LEFT[program] if part not in note] == [], note
    # Every file is either in the provenance or named as left out.
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in files - set(manifest.provenance.files) if name not in note} == set()


def test_axes_roles_and_facts_are_those_of_the_program(tmp_path):
    _, manifest = imported(PROGRAMS["AlphaFold3"][1](tmp_path / "af3")[0])
    assert manifest["outputs/sample_1/predicted_aligned_error"].axes == ("token", "token")
    assert manifest["outputs/sample_1/atom_plddts"].axes == ("atom",)
    assert manifest["outputs/sample_0/chain_pair_iptm"].axes == ("chain", "chain")
    assert manifest["outputs/sample_0/ptm"].axes == ()
    assert [spec.axes for spec in manifest.with_role(Role.PAIR)] == [("token", "token", "channel")]
    assert manifest.provenance.seed == 7
    _, manifest = imported(PROGRAMS["ColabFold"][1](tmp_path / "colabfold")[0])
    assert manifest["outputs/rank_2/predicted_aligned_error"].axes == ("residue", "residue")
    assert {spec.path for spec in manifest.with_role(Role.PAIR)} == {
        f"activations/rank_{rank}/final/pair_repr" for rank in (1, 2)
    }
    _, of_alphafold2 = imported(PROGRAMS["AlphaFold2"][1](tmp_path / "af2")[0])
    assert [(c.name, c.start, c.stop) for c in of_alphafold2.chains] == [("A", 0, 5), ("B", 5, 11)]
    facts = manifest.metadata
    assert (facts.model_name, facts.num_recycles, facts.num_residues) == ("alphafold2_multimer_v3", 3, N)


ONE = {
    "AlphaFold3": "seed-7_sample-0/job_seed-7_sample-0_confidences.json",
    "AlphaFold server": "fold_job_full_data_1.json",
    "Boltz": "pae_job_model_1.npz",
    "OpenFold3": "seed_42/job_seed_42_sample_1_confidences.json",
    "ColabFold": "job_scores_rank_002_alphafold2_multimer_v3_model_2_seed_000.json",
    "AlphaFold2": "pae_model_2_multimer_v3_pred_0.json",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_one_file_is_enough_and_one_prediction_has_no_label(tmp_path, program):
    made, _ = PROGRAMS[program][1](tmp_path / "made")
    (tmp_path / "one").mkdir()
    path = Path(shutil.copy(made / ONE[program], tmp_path / "one"))
    found, manifest = imported(path)
    assert found["outputs/predicted_aligned_error"].shape == (N, N)
    assert list(manifest.provenance.files) == [path.name]
    assert imported(path.parent)[1].tensors == manifest.tensors


@pytest.mark.parametrize("program", ["AlphaFold3", "ColabFold"])
def test_a_folder_becomes_an_archive_that_holds_the_same_bits(tmp_path, program):
    folder, expected = PROGRAMS[program][1](tmp_path / "made")
    convert(read_source(folder), load_format("hdf5"), tmp_path / "a.h5", "tuned")
    assert verify_archive(tmp_path / "a.h5") == []
    with open_archive(tmp_path / "a.h5") as (_, reader, manifest):
        same({spec.path: reader.read(spec.path) for spec in manifest.tensors}, expected)


@pytest.mark.parametrize("program", ["AlphaFold3", "AlphaFold server", "Boltz", "OpenFold3"])
def test_what_is_imported_of_a_complex_conforms(tmp_path, program):
    pytest.importorskip("harness.extensions.complexes", reason="the specification is that of another extension")
    folder, _ = PROGRAMS[program][1](tmp_path / "made")
    convert(read_source(folder), load_format("hdf5"), tmp_path / "a.h5", "tuned")
    assert schema_problems(tmp_path / "a.h5") == []


def test_several_programs_in_one_folder_are_told_by_content(tmp_path):
    boltz, of_boltz = PROGRAMS["Boltz"][1](tmp_path / "made")
    af3, of_af3 = PROGRAMS["AlphaFold3"][1](tmp_path / "af3")
    shutil.copytree(af3, boltz, dirs_exist_ok=True)
    # What OpenFold3 calls its own is AlphaFold3's too, and AlphaPulldown's confidences are called as Boltz's.
    json_file(boltz / "job_seed_1_sample_1_confidences.json", {"plddt": [1.0, 2.0], "pde": [[0.5]]})
    json_file(boltz / "confidence_model_9_model_9.json", {"residueNumber": [1, 2], "confidenceScore": [0.5, 0.25]})
    with pytest.raises(UsageError, match=r"--kind .*alphafold3") as asked:
        read_source(boltz)
    assert all(f"--kind {kind}" in str(asked.value) for kind in ("boltz", "openfold3", "prediction-pickle"))
    for kind, expected, other in (
        ("boltz", of_boltz, "nothing of Boltz): confidence_model_9_model_9.json"),
        ("alphafold3", of_af3, "nothing of AlphaFold3): confidence_job_model_0.json"),
    ):
        found, manifest = imported(boltz, kind)
        same(found, expected)
        assert other in (manifest.provenance.note or "")
    assert set(imported(boltz, "openfold3")[0]) == {"outputs/atom_plddts", "outputs/predicted_distance_error"}


def packed_by(suffix: str, data: bytes) -> bytes:
    return {"xz": lzma.compress, "gz": gzip.compress, "zst": numcodecs.Zstd().encode}[suffix](data)


@pytest.mark.parametrize("name", ["x.pkl.xz", "x.pkl.gz", "x.pickle.gz", "x.pickle", "result_model_1.pkl.xz"])
def test_a_packed_pickle_is_the_pickle_inside(tmp_path, monkeypatch, name):
    content = {"plddt": values(1, N), "zeros": np.zeros(100_000), "scores": [0.5, 0.25], "rows": [[1, 2], [3, 4]]}
    plain = pickled(tmp_path / "x.pkl", content)
    path = tmp_path / "packed" / name
    path.parent.mkdir()
    suffix = path.suffix.removeprefix(".")
    path.write_bytes(plain.read_bytes() if suffix == "pickle" else packed_by(suffix, plain.read_bytes()))
    found, _ = imported(path)
    same(found, {
        "outputs/confidence_scores": content["plddt"], "outputs/zeros": content["zeros"],
        "outputs/scores": np.array([0.5, 0.25]), "outputs/rows": np.array([[1, 2], [3, 4]]),
    })  # fmt: skip
    if suffix != "pickle":
        monkeypatch.setattr(limits, "_SMALL", 1 << 10)
        with pytest.raises(SourceError, match=f"{name}: it inflates to more than .* raise that with --max-inflated"):
            read_source(path)
        monkeypatch.undo()
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(SourceError, match=f"{name}: it is truncated or damaged"):
            read_source(path)


def test_json_of_zstandard_is_inflated_within_the_limit(tmp_path, monkeypatch):
    pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")
    folder, expected = PROGRAMS["AlphaFold3"][1](tmp_path / "made")
    for path in [*folder.rglob("*_confidences.json")]:
        path.with_name(f"{path.name}.zst").write_bytes(packed_by("zst", path.read_bytes()))
        path.unlink()
    same(imported(folder)[0], expected)
    bomb = tmp_path / "job_confidences.json.zst"
    bomb.write_bytes(packed_by("zst", b'{"pae": [[' + b" " * 300_000 + b"1]]}"))
    monkeypatch.setattr(limits, "_SMALL", 1 << 10)
    with pytest.raises(SourceError, match="inflates to more than"):
        read_source(bomb)


def test_without_the_package_for_zstandard_its_extra_is_named(tmp_path, monkeypatch):
    for module in ("backports", "backports.zstd", "compression", "compression.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "confidences.json.zst").write_bytes(packed_by("zst", b"{}"))
    with pytest.raises(UsageError, match=r"pip install 'trace-format-harness\[zstd\]'"):
        read_source(tmp_path / "confidences.json.zst")


def test_bfloat16_keeps_its_two_bytes(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = values(1, N, N, 4).astype(ml_dtypes.bfloat16)
    content = {"plddt": values(2, N), "representations": {"pair": array}}
    found, manifest = imported(pickled(tmp_path / "x.pkl", content))
    assert found["activations/final/pair_repr"].tobytes() == array.tobytes()
    assert manifest["activations/final/pair_repr"].values == "bfloat16"
    np.save(tmp_path / "job_pair_repr_rank_001_model_1_seed_000.npy", array)
    found, manifest = imported(tmp_path / "job_pair_repr_rank_001_model_1_seed_000.npy")
    assert found["activations/final/pair_repr"].tobytes() == array.tobytes()
    assert manifest["activations/final/pair_repr"].values == "bfloat16"


def test_a_slimmed_directory_is_read_as_it_lies(tmp_path):
    slimming = pytest.importorskip("harness.extensions.result_directories.slimming")
    folder, expected = PROGRAMS["AlphaFold3"][1](tmp_path / "made")
    slimming.slim(folder, "slim", plain="none")
    assert len([*folder.rglob("*confidences.json")]) < 6  # packed, or gone as copies
    same(imported(folder)[0], expected)


def test_a_slim_file_is_read_alone(tmp_path):
    container = pytest.importorskip("harness.extensions.result_directories.container")
    errors = np.arange(100.0).reshape(10, 10).tolist()
    data = _sample(tmp_path, pae=errors, token_res_ids=list(range(10)), contact_probs=errors).read_bytes()
    suffix, packed = container.pack("confidences.json", data, original=hashlib.sha256(data).hexdigest())
    path = tmp_path / f"confidences.json{suffix}"
    path.write_bytes(packed)
    assert suffix == ".slim"
    found, manifest = imported(path)
    assert found["outputs/predicted_aligned_error"].tobytes() == np.arange(100.0).tobytes()
    assert "given up" not in (manifest.provenance.note or "")


def test_what_slimming_gave_up_is_told(tmp_path):
    container = pytest.importorskip("harness.extensions.result_directories.container")
    kept, zeros = values(1, N), np.zeros((N, N), np.float32)
    data = pickle.dumps({"plddt": kept, "distogram": {"logits": zeros}}, 4)
    suffix, packed = container.pack("result_model_1.pkl", data, original="0" * 64, dropped=(("distogram",),))
    path = tmp_path / f"result_model_1.pkl{suffix}"
    path.write_bytes(packed)
    found, manifest = imported(path)
    same(found, {"outputs/confidence_scores": kept})
    note = manifest.provenance.note or ""
    assert "left out (dropped when its directory was slimmed): distogram/logits" in note
    assert "precision was given up when its directory was slimmed" in note


def _sample(folder: Path, **changed: object) -> Path:
    content = {"token_res_ids": [1, 2], "pae": [[0.5, 1], [1, 2]], "contact_probs": [[1, 0], [0, 1]]}
    content["atom_plddts"] = [1]
    return json_file(folder / "confidences.json", content | changed)


@pytest.mark.parametrize(
    ("changed", "note", "missing"),
    [
        ({"pae": [[0.5], [1, 2]]}, "rows of unequal lengths): pae", "outputs/predicted_aligned_error"),
        ({"pae": [[0.5], 1]}, "rows of unequal lengths): pae", "outputs/predicted_aligned_error"),
        ({"pae": [1, [0.5]]}, "rows of unequal lengths): pae", "outputs/predicted_aligned_error"),
        ({"pae": "nothing"}, "no numbers): pae", "outputs/predicted_aligned_error"),
        ({"pae": [["x" * 10, 1], [1, 2]]}, "no numbers): pae", "outputs/predicted_aligned_error"),
        ({"pae": [["a], b", 1], [1, 2]]}, "no numbers): pae", "outputs/predicted_aligned_error"),
        ({"pae": [[{"A": 1}], [1]]}, "no numbers): pae", "outputs/predicted_aligned_error"),
        ({"pae": [[[[[[[[[1]]]]]]]]]}, "lists of more than 8 levels): pae", "outputs/predicted_aligned_error"),
        ({"pae": [[], []]}, "empty): pae", "outputs/predicted_aligned_error"),
        ({"pae": [[1, 2**70]]}, "integers of more than 64 bits): pae", "outputs/predicted_aligned_error"),
        ({"atom_plddts": []}, "empty): atom_plddts", "outputs/atom_plddts"),
        ({"more": {"A": {"A": 1}, "B": {"C": 1}}}, "dictionaries of unequal keys): more", "outputs/more"),
        ({"more": {"A": [1], "B": [1, 2]}}, "rows of unequal lengths): more", "outputs/more"),
        ({"a b": [1]}, "no name that a tensor may have): a b", "outputs/a b"),
    ],
)
def test_what_is_no_array_of_numbers_is_left_out_by_name(tmp_path, changed, note, missing):
    found, manifest = imported(_sample(tmp_path, **changed))
    assert missing not in found and found["inputs/tokens/residue_index"].tolist() == [1, 2]
    assert note in (manifest.provenance.note or "")


def test_an_array_with_other_axes_than_its_place_does_not_stop_the_others(tmp_path):
    found, manifest = imported(_sample(tmp_path, pae=[[1, 2, 3]] * 2, contact_probs=[1, 2]))
    assert found["outputs/contact_probs"].tolist() == [1, 2]
    assert manifest["outputs/contact_probs"].axes == ("axis_0",)
    assert manifest["outputs/predicted_aligned_error"].axes == ("token", "token")
    told = "contact_probs has shape (2,), not axes token token: stored as outputs/contact_probs"
    assert told in (manifest.provenance.note or "")


def test_samples_of_different_complexes_are_told_and_not_paired(tmp_path):
    for sample, tokens in enumerate((10, 12)):
        chains, residues = ["A"] * tokens, list(range(tokens))
        stem = tmp_path / "job" / f"seed-1_sample-{sample}"
        _sample(stem, token_chain_ids=chains, token_res_ids=residues, atom_chain_ids=chains)
    with pytest.raises(SourceError, match="job holds samples of different complexes"):
        read_source(tmp_path / "job")
    path = _sample(tmp_path, token_chain_ids=["A"] * 3, token_res_ids=[1, 2])
    with pytest.raises(SourceError, match=r"confidences\.json: token_chain_ids is of 3 tokens, token_res_ids of 2\."):
        read_source(path)


PACKED = {
    "Boltz": ("pae_job_model_0.npz", "outputs/sample_0/predicted_aligned_error"),
    "AlphaFold3": ("seed-7_distogram/job_seed-7_distogram.npz", "outputs/distogram"),
    "ColabFold": ("job_pair_repr_{}.npy", "activations/rank_2/final/pair_repr"),
    "OpenFold3": ("seed_42/job_seed_42_latent_output.pt", "outputs/recycles"),
}


@pytest.mark.parametrize("suffix", ["gz", "xz"])
@pytest.mark.parametrize("program", PACKED)
def test_packed_containers_of_arrays_are_left_out_and_not_called_damaged(tmp_path, program, suffix):
    folder, expected = PROGRAMS[program][1](tmp_path / "made")
    name, place = PACKED[program]
    path = folder / name.format("rank_002_alphafold2_multimer_v3_model_2_seed_000")
    packed = path.with_name(f"{path.name}.{suffix}")
    packed.write_bytes(packed_by(suffix, path.read_bytes()))
    path.unlink()
    found, manifest = imported(folder)
    assert place in expected and place not in found and set(found) < set(expected)
    told = f"left out (packed: unpack it first): {packed.relative_to(folder).as_posix()}"
    assert told in (manifest.provenance.note or "")
    with pytest.raises(UsageError, match=r"can be read here: it is packed\. Unpack it first"):
        read_source(packed)


def test_a_packed_table_of_scores_is_read(tmp_path):
    folder, expected = PROGRAMS["AlphaFold3"][1](tmp_path / "made")
    path = folder / "job_ranking_scores.csv"
    path.with_name(f"{path.name}.gz").write_bytes(packed_by("gz", path.read_bytes()))
    path.unlink()
    same(imported(folder)[0], expected)
    monster = packed_by("gz", b"seed,x\n" + b" " * (DOCUMENT + 1))
    path.with_name(f"{path.name}.gz").write_bytes(monster)
    with pytest.raises(SourceError, match=r"ranking_scores\.csv\.gz: it inflates to more than 64 MiB"):
        read_source(folder)


def test_numbers_are_what_numpy_makes_of_them(tmp_path):
    text = '{"token_res_ids": [1, 2], "pae": [[0.1, 1], [1e-320, NaN]], "whole": [[1, 2]], "yes": [true, false]}'
    (tmp_path / "confidences.json").write_text(text)
    found, _ = imported(tmp_path / "confidences.json")
    judge = json.loads(text)
    for path, name in (("predicted_aligned_error", "pae"), ("whole", "whole"), ("yes", "yes")):
        array = np.array(judge[name])
        assert (found[f"outputs/{path}"].dtype, found[f"outputs/{path}"].tobytes()) == (array.dtype, array.tobytes())


def test_what_json_has_no_numbers_for_is_read_as_python_writes_it(tmp_path):
    content = {
        "token_res_ids": [1, 2], "pae": [[float("inf"), float("nan")], [-float("inf"), 1]], "NaN": [1.5, float("inf")],
        "by_chain": {"Infinity": {"A": -float("inf")}, 'a"NaN': {"A": 2.0}}, "words": ["NaN", "-Infinity"],
    }  # fmt: skip
    (tmp_path / "confidences.json").write_text(json.dumps(content))
    found, manifest = imported(tmp_path / "confidences.json")
    assert np.array_equal(found["outputs/predicted_aligned_error"], content["pae"], equal_nan=True)
    assert found["outputs/NaN"].tolist() == content["NaN"]
    assert found["outputs/by_chain"].tolist() == [[-np.inf], [2.0]]
    note = manifest.provenance.note or ""
    assert 'by_chain is of Infinity, a"NaN' in note and "no numbers): words" in note


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda path: path.write_text(path.read_text()[:-20]), "truncated or damaged"),
        (lambda path: path.write_text(path.read_text() + "}"), "truncated or damaged"),
        (lambda path: json_file(path, {"token_chain_ids": ["A"]}), "holds no tensor"),
        (lambda path: path.write_text('{"token_res_ids": ' + "[" * 100_000), "truncated or damaged"),
    ],
)
def test_a_broken_json_is_refused_in_one_sentence(tmp_path, spoil, part):
    path = _sample(tmp_path)
    spoil(path)
    with pytest.raises(SourceError, match=part) as refused:
        read_source(path)
    assert "confidences.json" in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_several_jobs_and_batches_are_refused(tmp_path):
    folder, _ = PROGRAMS["Boltz"][1](tmp_path / "made")
    np.savez(folder / "embeddings_job.npz", s=values(1, 2, N, 6))
    with pytest.raises(SourceError, match="s is of a batch of 2"):
        read_source(folder)
    shutil.copy(folder / "pae_job_model_0.npz", folder / "pae_other_model_0.npz")
    with pytest.raises(UsageError, match=r"holds results of 2 jobs \(job, other\), a trace is of one; name a file"):
        read_source(folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "text.txt").write_text("something else\n")
    for kind in {kind for kind, _ in PROGRAMS.values()}:
        with pytest.raises(UsageError, match="holds no arrays that"):
            read_source(empty, kind)


def test_a_file_that_changes_meanwhile_is_refused(tmp_path):
    path = _sample(tmp_path)
    trace = read_source(path)
    list(trace.blocks("outputs/contact_probs"))
    _sample(tmp_path, pae=[[9, 9], [9, 9]])
    with pytest.raises(SourceError, match="changed while it was read"):
        list(trace.blocks("outputs/contact_probs"))


def test_the_command_takes_them(tmp_path, capsys):
    assert main(["list", "importers"]) == 0
    listed = capsys.readouterr().out
    assert all(kind in listed for kind, _ in PROGRAMS.values())


def test_threads_may_share_what_one_file_holds():
    """Each file has to be read anew for nearly every array: two threads ask for those of two files in turn."""
    held, switches = _OneFile(), sys.getswitchinterval()

    def read(path: Path) -> FileContent:
        return FileContent(arrays={"x": ForeignArray.of(np.array(int(path.name)))})

    def ask(number: int) -> set[int]:
        return {int(held.values(read, Path(str(number)), "x")) for _ in range(3000)}

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ask, range(4)))
    finally:
        sys.setswitchinterval(switches)
    assert found == [{0}, {1}, {2}, {3}]
