"""The eight ways in which the model for slimming loses data (storage-modes.md), each shown not to lose here."""

from __future__ import annotations

import json
import pickle

import numpy as np

from benchmarks.directories import MODELS, af2, af3, confidences, digests
from harness.extensions.result_directories import container, reading
from harness.extensions.result_directories.manifest import load_manifest
from harness.extensions.result_directories.programs import recognise
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import slim


def test_1_the_unrounded_error_and_arrays_with_no_other_copy_stay(tmp_path):
    folder = af2(tmp_path / "job")
    before = pickle.loads((folder / f"result_{MODELS[0]}.pkl").read_bytes())
    rounded = np.array(json.loads((folder / f"pae_{MODELS[0]}.json").read_text())[0]["predicted_aligned_error"])
    assert np.abs(rounded - before["predicted_aligned_error"]).max() > 0.04  # the sidecar would be a loss
    slim(folder, "slim")
    found = container.content(reading.read_file(folder, f"result_{MODELS[0]}.pkl"))
    for key in ("predicted_aligned_error", "max_predicted_aligned_error", "aligned_confidence_probs"):
        assert found[key].tobytes() == before[key].tobytes()
    for key in ("distogram", "masked_msa"):
        assert found[key]["logits"].tobytes() == before[key]["logits"].tobytes()


def test_2_no_sidecar_is_needed(tmp_path):
    folder = af2(tmp_path / "job", sidecars=False)
    before = pickle.loads((folder / f"result_{MODELS[0]}.pkl").read_bytes())
    for mode, bound in (("slim", None), ("minimal", 0.05)):
        assert not slim(folder, mode, bound=bound).problems
        found = reading.read_values(folder, f"result_{MODELS[0]}.pkl")
        assert np.abs(found["predicted_aligned_error"] - before["predicted_aligned_error"]).max() <= (bound or 0)
        if mode == "slim":
            unslim(folder)


def test_3_a_corrupt_pickle_is_left_as_it_was(tmp_path):
    folder = af2(tmp_path / "job")
    broken = folder / f"result_{MODELS[0]}.pkl"
    broken.write_bytes(broken.read_bytes()[:5000])
    before = digests(folder)
    done = slim(folder, "slim")
    assert len(done.problems) == 1 and done.problems[0].startswith(f"{broken.name} was left as it was")
    assert digests(folder)[broken.name] == before[broken.name]
    unslim(folder)
    assert digests(folder) == before


def test_4_a_top_level_copy_that_differs_stays(tmp_path):
    folder = af3(tmp_path / "job")
    top = folder / "job_confidences.json"
    top.write_text(confidences(24, 99))
    before = digests(folder)
    assert not slim(folder, "slim").problems
    assert digests(folder)[top.name] == before[top.name]
    assert "no sample has the same bytes" in load_manifest(folder).items[top.name].why
    unslim(folder)
    assert digests(folder) == before


def test_5_without_a_ranking_all_stay_plain_and_of_a_tie_all_that_tie(tmp_path):
    folder = af3(tmp_path / "tied", scores=(0.8, 0.3, 0.8))
    slim(folder, "slim")
    assert [(folder / f"seed-1_sample-{n}" / "confidences.json").is_file() for n in range(3)] == [True, False, True]
    assert load_manifest(folder).best == recognise(folder).best == ("seed-1_sample-0", "seed-1_sample-2")
    folder = af3(tmp_path / "unranked")
    (folder / "ranking_scores.csv").unlink()
    done = slim(folder, "slim")
    assert not done.problems
    assert all((folder / f"seed-1_sample-{n}" / "confidences.json").is_file() for n in range(3))


def test_of_several_rankings_the_best_of_each_stay_plain(tmp_path):
    folder = af3(tmp_path / "job")  # its best is sample 1
    (folder / "job_ranking_scores.csv").write_bytes(b"\xef\xbb\xbfseed,sample,ranking_score\r\n1,0,0.9\r\n")
    slim(folder, "slim")
    assert [(folder / f"seed-1_sample-{n}" / "confidences.json").is_file() for n in range(3)] == [True, True, False]
    assert set(recognise(folder).best) == {"seed-1_sample-0", "seed-1_sample-1"}


def test_6_the_input_of_the_job_stays_readable(tmp_path):
    folder = af3(tmp_path / "job")
    before = (folder / "job_data.json").read_bytes()
    for mode, bound in (("slim", None), ("minimal", 0.5)):
        slim(folder, mode, bound=bound)
        assert not (folder / "job_data.json").exists()
        found = reading.read_file(folder, "job_data.json")
        assert found.exact and found.data == before
        unslim(folder)


def test_7_a_failure_is_told_and_an_interrupted_run_is_resumed(tmp_path, monkeypatch):
    folder = af2(tmp_path / "job")
    before = digests(folder)

    def stop(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("harness.extensions.result_directories.disk.remove_file", stop)
        try:
            slim(folder, "slim")
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("it was not interrupted")
    assert {name: value for name, value in digests(folder).items() if name in before} == before
    assert not slim(folder, "slim").problems
    assert not list(folder.glob("*.pkl"))
    unslim(folder)
    assert digests(folder) == before


def test_8_pickles_of_others_are_never_touched(tmp_path):
    folder = af2(tmp_path / "job")
    foreign = {"notes.pkl": {"plddt": 1}, "result_of_mine.pkl": ["a", "list"], "pae_notes.json": None}
    for name, content in foreign.items():
        data = json.dumps({"mine": content}).encode() if name.endswith(".json") else pickle.dumps(content)
        (folder / name).write_bytes(data)
    before = digests(folder)
    for mode, bound in (("slim", None), ("minimal", 0.5)):
        assert not slim(folder, mode, bound=bound).problems
        after = digests(folder)
        assert all(after[name] == before[name] for name in foreign)
        assert not set(foreign) & set(load_manifest(folder).items)
        unslim(folder)


def test_a_file_relied_on_keeps_every_bit_when_another_becomes_the_best(tmp_path):
    folder = af3(tmp_path / "job")
    before = (folder / "job_confidences.json").read_bytes()
    slim(folder, "minimal", bound=0.5)
    assert not (folder / "job_confidences.json").exists()
    (folder / "ranking_scores.csv").write_text("seed,sample,ranking_score\n1,0,0.3\n1,1,0.2\n1,2,0.9\n")
    assert not slim(folder, "minimal", bound=0.5).problems
    assert not (folder / "seed-1_sample-1" / "confidences.json").exists()
    assert reading.read_file(folder, "job_confidences.json").data == before
