"""What tools after AlphaFold read is the same from slim, within the bound from minimal, and from no other source."""

from __future__ import annotations

import gzip
import json
import lzma
import pickle
import shutil

import numpy as np
import pytest

from benchmarks.directories import MODELS, af2, af3, openfold3
from harness.errors import HarnessError, UsageError
from harness.extensions.result_directories import consumers, container
from harness.extensions.result_directories.manifest import load_manifest
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import slim

BOUND = 0.2


def af2_values(folder):
    """What is read from an AF2 directory: value and source by name."""
    values = {}
    for model in MODELS:
        values[f"pae pkl {model}"] = consumers.value_of(folder, f"result_{model}.pkl", "predicted_aligned_error")
        for key in ("plddt", "ptm", "iptm", "ranking_confidence", "structure_module"):
            values[f"{key} pkl {model}"] = consumers.value_of(folder, f"result_{model}.pkl", key)
        values[f"pae json {model}"] = consumers.value_of(folder, f"pae_{model}.json", "predicted_aligned_error")
        values[f"plddt json {model}"] = consumers.value_of(folder, f"confidence_{model}.json", "confidenceScore")
        values[f"structure {model}"] = consumers.structure(folder, f"unrelaxed_{model}.pdb")
    return values


def af3_values(folder):
    """What is read from an AF3 directory."""
    values = {}
    for name in ("job_", *(f"seed-1_sample-{number}/" for number in range(3))):
        for key in ("pae", "atom_plddts", "contact_probs", "token_chain_ids"):
            values[f"{name} {key}"] = consumers.value_of(folder, f"{name}confidences.json", key)
        for key in ("ptm", "iptm", "ranking_score"):
            values[f"{name} {key}"] = consumers.value_of(folder, f"{name}summary_confidences.json", key)
        values[f"{name} structure"] = consumers.structure(folder, f"{name}model.cif")
    return values


def openfold3_values(folder):
    """What is read from an OpenFold3 directory."""
    values = {}
    for number in (1, 2):
        name = f"query_seed_42_sample_{number}"
        for key in ("plddt", "pde"):
            values[f"{name} {key}"] = consumers.value_of(folder, f"{name}_confidences.json", key)
        values[f"{name} mean"] = consumers.value_of(folder, f"{name}_confidences_aggregated.json", "avg_plddt")
    return values


def bits(value):
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    array = np.asarray(value)
    return array.dtype.str, array.shape, array.tobytes()


@pytest.mark.parametrize(("make", "read"), [(af2, af2_values), (af3, af3_values), (openfold3, openfold3_values)])
@pytest.mark.parametrize("plain", ["best", "none"])
def test_values_from_vanilla_slim_and_minimal(tmp_path, make, read, plain):
    folder = make(tmp_path / "job")
    vanilla = read(folder)
    slim(folder, "slim", plain=plain)
    slimmed = read(folder)
    assert slimmed.keys() == vanilla.keys()
    for name, expected in vanilla.items():
        found = slimmed[name]
        assert (found.source, found.largest_error) == (expected.source, 0.0), name
        assert bits(found.value) == bits(expected.value), name
    unslim(folder)
    slim(folder, "minimal", bound=BOUND, plain=plain)
    reduced, changed = read(folder), []
    for name, expected in vanilla.items():
        found = reduced[name]
        assert found.source == expected.source, name
        if bits(found.value) == bits(expected.value):
            continue
        changed.append(name)
        error = np.abs(np.asarray(found.value, float) - np.asarray(expected.value, float)).max()
        assert 0 < error <= BOUND * (1 + 1e-9), name
        assert found.largest_error == pytest.approx(error, abs=1e-9), name
    assert changed and all("pae" in name or "pde" in name for name in changed)


def test_minimal_says_of_each_array_what_became_of_it(tmp_path):
    folder = af2(tmp_path / "job")
    slim(folder, "minimal", bound=0.05)
    entry = load_manifest(folder).items[f"result_{MODELS[0]}.pkl"]
    fates = {array["path"]: array for array in entry.arrays}
    assert fates.keys() == {
        "distogram/logits",
        "masked_msa/logits",
        "aligned_confidence_probs",
        "predicted_aligned_error",
    }
    assert 0 < fates["predicted_aligned_error"]["largest_error"] <= 0.05
    assert "run AlphaFold2 again" in fates["distogram/logits"]["recompute"]
    found = container.content(consumers.read_file(folder, f"result_{MODELS[0]}.pkl"))
    assert "logits" not in found["distogram"] and "bin_edges" in found["distogram"]
    with pytest.raises(HarnessError, match="has no aligned_confidence_probs; no other source"):
        consumers.value_of(folder, f"result_{MODELS[0]}.pkl", "aligned_confidence_probs")
    told = unslim(folder)
    assert len(told.problems) == 3 and "gave up precision" in told.problems[0]
    assert consumers.value_of(folder, f"result_{MODELS[0]}.pkl", "predicted_aligned_error").largest_error > 0


def test_no_other_source_is_taken(tmp_path):
    folder = af2(tmp_path / "job")
    slim(folder, "slim")
    next(folder.glob(f"result_{MODELS[0]}.pkl.*")).unlink()
    with pytest.raises(HarnessError, match="survives, is missing"):
        consumers.value_of(folder, f"result_{MODELS[0]}.pkl", "predicted_aligned_error")
    folder = af2(tmp_path / "stripped")
    path = folder / f"result_{MODELS[0]}.pkl"
    content = pickle.loads(path.read_bytes())
    del content["predicted_aligned_error"]
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(HarnessError, match="has no predicted_aligned_error; no other source"):
        consumers.value_of(folder, f"result_{MODELS[0]}.pkl", "predicted_aligned_error")


@pytest.mark.parametrize(("suffix", "pack"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_files_that_other_tools_compressed_are_read(tmp_path, suffix, pack):
    folder = af2(tmp_path / "job")
    expected = af2_values(folder)
    for path in [*folder.glob("*.pkl"), *folder.glob("pae_*.json")]:
        path.with_name(path.name + suffix).write_bytes(pack(path.read_bytes()))
        path.unlink()
    found = af2_values(folder)
    assert all(bits(found[name].value) == bits(value.value) for name, value in expected.items())
    broken = folder / f"pae_{MODELS[0]}.json{suffix}"
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(HarnessError, match="truncated or damaged"):
        consumers.value_of(folder, f"pae_{MODELS[0]}.json", "predicted_aligned_error")


def test_what_is_not_taken_apart_is_plain_xz(tmp_path):
    folder = af3(tmp_path / "job")
    before = (folder / "job_data.json").read_bytes()
    slim(folder, "slim")
    assert lzma.decompress((folder / "job_data.json.xz").read_bytes()) == before


def test_the_best_prediction_is_found_in_every_state(tmp_path):
    folder = af2(tmp_path / "af2", scores=(0.9, 0.1, 0.9))
    assert consumers.best(folder) == (MODELS[0], MODELS[2])
    slim(folder, "slim")
    assert consumers.best(folder) == (MODELS[0], MODELS[2])
    assert (folder / f"pae_{MODELS[0]}.json").is_file() and (folder / f"pae_{MODELS[2]}.json").is_file()
    (folder / "ranking_debug.json").unlink()
    with pytest.raises(UsageError, match="none of its predictions is the best"):
        consumers.best(folder)
    folder = af3(tmp_path / "af3")
    (folder / "ranking_scores.csv").write_text("seed,sample,ranking_score\n1,0,nan\n1,1,0.2\n1,2,-inf\n")
    assert consumers.best(folder) == ("seed-1_sample-1",)


def test_a_monomer_is_ranked_by_plddt(tmp_path):
    folder = af2(tmp_path / "job")
    ranking = {"plddts": {MODELS[0]: 70.0, MODELS[1]: 80.0}, "order": [MODELS[1], MODELS[0]]}
    (folder / "ranking_debug.json").write_text(json.dumps(ranking))
    assert consumers.best(folder) == (MODELS[1],)


def real_values(folder):
    """What is read from any of the real directories."""
    values = {}
    for path in sorted(folder.iterdir()):
        name = path.name.removesuffix(".slim").removesuffix(".xz")
        if name.startswith("result_"):
            for key in ("predicted_aligned_error", "plddt", "ptm", "iptm", "ranking_confidence"):
                model = name.removeprefix("result_").removesuffix(".pkl")
                values[f"{name} {key}"] = consumers.value_of(folder, f"result_{model}.pkl", key)
        elif name.startswith("pae_"):
            values[name] = consumers.value_of(folder, name, "predicted_aligned_error")
        elif name.startswith("confidence_"):
            values[name] = consumers.value_of(folder, name, "confidenceScore")
        elif name.endswith("_confidences.json"):
            for key in ("plddt", "pde"):
                values[f"{name} {key}"] = consumers.value_of(folder, name, key)
        elif name.endswith((".pdb", ".cif")):
            values[name] = consumers.structure(folder, name)
    return values


@pytest.mark.parametrize(
    ("relative", "least"),
    [
        ("alphapulldown_af2/P0DPR3_and_P0DPR3", 35),
        ("alphapulldown_af2/TEST_and_TEST_and_TEST", 16),
        ("openfold3", 6),
    ],
)
@pytest.mark.parametrize("plain", ["best", "none"])
def test_real_values_from_vanilla_slim_and_minimal(tmp_path, real_data, relative, least, plain):
    if not (real_data / relative).is_dir():
        pytest.skip(f"HARNESS_DATA has no {relative}; made-up directories are tested the same way")
    folder = tmp_path / "job"
    shutil.copytree(real_data / relative, folder, copy_function=shutil.copyfile)
    for path in folder.rglob("."):
        path.chmod(0o755)
    vanilla = real_values(folder)
    assert len(vanilla) >= least
    for mode, bound in (("slim", None), ("minimal", BOUND)):
        assert not slim(folder, mode, bound=bound, plain=plain).problems
        found = real_values(folder)
        assert found.keys() == vanilla.keys()
        for name, expected in vanilla.items():
            assert found[name].source == expected.source, name
            if found[name].largest_error == 0:
                assert bits(found[name].value) == bits(expected.value), name
            else:
                error = np.abs(np.asarray(found[name].value, float) - np.asarray(expected.value, float)).max()
                assert mode == "minimal" and error <= BOUND * (1 + 1e-9), name
        if mode == "slim" and load_manifest(folder) is not None:
            unslim(folder)
