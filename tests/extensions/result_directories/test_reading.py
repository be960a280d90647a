"""What tools after AlphaFold read is the same from slim, within the bound from minimal, and from no other file."""

from __future__ import annotations

import json
import lzma
import pickle

import pytest

from benchmarks.directories import MODELS, af2, af3
from harness.errors import HarnessError
from harness.extensions.result_directories import container, reading
from harness.extensions.result_directories.manifest import load_manifest
from harness.extensions.result_directories.programs import recognise
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import slim


def test_minimal_says_of_each_array_what_became_of_it(tmp_path):
    folder, name = af2(tmp_path / "job"), f"result_{MODELS[0]}.pkl"
    slim(folder, "minimal", bound=0.05)
    entry = load_manifest(folder).items[name]
    fates = {array["path"]: array for array in entry.arrays}
    assert fates.keys() == {
        "distogram/logits",
        "masked_msa/logits",
        "aligned_confidence_probs",
        "predicted_aligned_error",
    }
    assert 0 < entry.largest_errors["predicted_aligned_error"] <= 0.05
    assert "run AlphaFold2 again" in fates["distogram/logits"]["recompute"]
    found = container.content(reading.read_file(folder, name))
    assert "logits" not in found["distogram"] and "bin_edges" in found["distogram"]
    assert "aligned_confidence_probs" not in reading.read_values(folder, name)
    told = unslim(folder)
    assert len(told.problems) == 3 and "gave up precision" in told.problems[0]
    assert load_manifest(folder).items[name].largest_errors["predicted_aligned_error"] > 0


def test_no_other_file_is_taken(tmp_path):
    folder = af2(tmp_path / "job")
    slim(folder, "slim")
    next(folder.glob(f"result_{MODELS[0]}.pkl.*")).unlink()
    with pytest.raises(HarnessError, match="survives, is missing"):
        reading.read_values(folder, f"result_{MODELS[0]}.pkl")
    folder = af2(tmp_path / "stripped")
    path = folder / f"result_{MODELS[0]}.pkl"
    content = pickle.loads(path.read_bytes())
    del content["predicted_aligned_error"]
    path.write_bytes(pickle.dumps(content))
    assert "predicted_aligned_error" not in reading.read_values(folder, path.name)


def test_what_is_not_taken_apart_is_plain_xz(tmp_path):
    folder = af3(tmp_path / "job")
    before = (folder / "job_data.json").read_bytes()
    slim(folder, "slim")
    assert lzma.decompress((folder / "job_data.json.xz").read_bytes()) == before


def test_the_best_prediction_is_found_in_every_state(tmp_path):
    folder = af2(tmp_path / "af2", scores=(0.9, 0.1, 0.9))
    assert recognise(folder).best == (MODELS[0], MODELS[2])
    slim(folder, "slim")
    assert recognise(folder).best == (MODELS[0], MODELS[2])
    assert (folder / f"pae_{MODELS[0]}.json").is_file() and (folder / f"pae_{MODELS[2]}.json").is_file()
    (folder / "ranking_debug.json").unlink()
    assert recognise(folder).best == ()
    folder = af3(tmp_path / "af3")
    (folder / "ranking_scores.csv").write_text("seed,sample,ranking_score\n1,0,nan\n1,1,0.2\n1,2,-inf\n")
    assert recognise(folder).best == ("seed-1_sample-1",)


def test_a_monomer_is_ranked_by_plddt(tmp_path):
    folder = af2(tmp_path / "job")
    ranking = {"plddts": {MODELS[0]: 70.0, MODELS[1]: 80.0}, "order": [MODELS[1], MODELS[0]]}
    (folder / "ranking_debug.json").write_text(json.dumps(ranking))
    assert recognise(folder).best == (MODELS[1],)
