"""Real outputs of five programs: every number as the library that reads it elsewhere gives it, bit for bit."""

from __future__ import annotations

import importlib.util
import json
import lzma
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.program_outputs import Arrays, imported

ERRORS, LDDT = "outputs/{}predicted_aligned_error", "outputs/{}confidence_scores"


def judged(real_data: Path, *places: tuple[str, str, str]) -> Arrays:
    """What json and numpy give for a key of a file, by the place where it has to be; empty keys are whole NPZ files."""
    found = {}
    for name, key, place in places:
        path = real_data / name
        content: Any = np.load(path) if path.suffix == ".npz" else json.loads(path.read_text())
        found[place] = np.array((content[0] if isinstance(content, list) else content)[key])
    return found


def gemmi_here() -> bool:
    return importlib.util.find_spec("gemmi") is not None


def holds(found: Arrays, expected: Arrays) -> None:
    assert expected
    for place, array in expected.items():
        assert (found[place].dtype, found[place].shape) == (array.dtype, array.shape), place
        assert found[place].tobytes() == array.tobytes(), place


def test_alphafold3(real_data):
    found, manifest = imported(real_data / "af3_pdl1")
    folders = [(f"af3_pdl1/seed-1_sample-{k}", f"sample_{k}/") for k in range(3)]
    full = (("pae", ERRORS), ("contact_probs", "outputs/{}contact_probs"), ("atom_plddts", "outputs/{}atom_plddts"))
    chains = (
        "chain_iptm",
        "chain_pair_iptm",
        "chain_pair_pae_min",
        "chain_ptm",
        "ptm",
        "iptm",
        "ranking_score",
        "has_clash",
    )
    holds(found, judged(
        real_data,
        *((f"{folder}/confidences.json", key, place.format(k)) for folder, k in folders for key, place in full),
        *((f"{folder}/summary_confidences.json", key, f"outputs/{k}{key}") for folder, k in folders for key in chains),
    ))  # fmt: skip
    scores = [0.8990917334740582, 0.8967698018542354, 0.8889371082249773]
    assert found["outputs/ranking/ranking_score"].tolist() == scores
    said = "the same bytes as seed-1_sample-0/confidences.json): pdl1_binder_confidences.json"
    assert said in manifest.provenance.note
    assert manifest["outputs/sample_2/contact_probs"].axes == ("token", "token")
    full = json.loads((real_data / "af3_pdl1/seed-1_sample-0/confidences.json").read_text())
    assert found["inputs/tokens/residue_index"].tolist() == full["token_res_ids"]
    names = [chain.name for chain in manifest.chains]
    assert [names[chain] for chain in found["inputs/tokens/chain"]] == full["token_chain_ids"]
    of_atoms = found["inputs/tokens/chain"][found["inputs/atoms/token"]]
    assert [names[chain] for chain in of_atoms] == full["atom_chain_ids"]
    assert found["inputs/model_seeds"].tolist() == [1] and found["inputs/version"] == 3
    assert manifest.provenance.seed == 1


@pytest.mark.parametrize("sample", range(3))
def test_every_number_of_the_atoms_of_alphafold3(real_data, sample):
    pytest.importorskip("gemmi", reason="comes with the extra structures")
    found, manifest = imported(real_data / "af3_pdl1")
    text = (real_data / f"af3_pdl1/seed-1_sample-{sample}/model.cif").read_text()
    block = text[text.index("_atom_site.") :].split("#")[0].splitlines()
    items = [line.strip().removeprefix("_atom_site.") for line in block if line.startswith("_atom_site.")]
    rows = [line.split() for line in block if line.startswith(("ATOM", "HETATM"))]
    columns = dict(zip(items, zip(*rows, strict=True), strict=True))
    places = found[f"structure/sample_{sample}/atom_positions"]
    for axis, item in enumerate(("Cartn_x", "Cartn_y", "Cartn_z")):
        assert places[:, axis].tolist() == [float(value) for value in columns.pop(item)]
    numbers = {item: values for item, values in columns.items() if _are_numbers(values)}
    assert len(numbers) > 5
    for item, values in numbers.items():
        array = found[f"structure/sample_{sample}/atom_site/{item}"]
        assert array.tolist() == [float(value) for value in values], item
    assert [chain.kind for chain in manifest.chains] == ["protein", "protein"]


def _are_numbers(values) -> bool:
    try:
        return all(float(value) == float(value) for value in values)
    except ValueError:
        return False


def test_boltz(real_data):
    found, _ = imported(real_data / "boltz_pdl1")
    stem = "boltz_pdl1/{}_pdl1_binder_model_{}.{}"
    holds(found, judged(
        real_data,
        *((stem.format("pae", k, "npz"), "pae", ERRORS.format(f"sample_{k}/")) for k in (0, 1)),
        (stem.format("plddt", 0, "npz"), "plddt", "outputs/sample_0/token_plddts"),
        *((stem.format("confidence", k, "json"), "complex_ipde", f"outputs/sample_{k}/complex_ipde") for k in (0, 1)),
    ))  # fmt: skip
    scores = json.loads((real_data / stem.format("confidence", 1, "json")).read_text())
    pairs = [[scores["pair_chains_iptm"][a][b] for b in "01"] for a in "01"]
    assert found["outputs/sample_1/chain_pair_iptm"].tolist() == pairs
    if gemmi_here():
        assert found["structure/sample_0/atom_positions"].shape == (len(found["inputs/atoms/token"]), 3)
        assert len(found["inputs/tokens/chain"]) == len(found["outputs/sample_0/token_plddts"])


def test_colabfold(real_data):
    found, manifest = imported(real_data / "colabfold_pdl1")
    scores = (real_data / "colabfold_pdl1").glob("*scores*")
    files = {int(path.name.split("_rank_")[1][:3]): path.name for path in scores}
    holds(found, judged(
        real_data,
        *((f"colabfold_pdl1/{name}", key, place.format(f"rank_{rank}/")) for rank, name in files.items()
          for key, place in (("pae", ERRORS), ("plddt", LDDT), ("ptm", "structure/{}ptm"), ("iptm", "outputs/{}iptm"))),
        ("colabfold_pdl1/pdl1_binder_predicted_aligned_error_v1.json", "predicted_aligned_error", ERRORS.format("")),
    ))  # fmt: skip
    assert len(files) == 3 and manifest.metadata.model_name == "alphafold2_multimer_v3"
    assert manifest.metadata.num_recycles == 3 and "per_chain_ptm is of A, B" in manifest.provenance.note


@pytest.mark.parametrize("pack", [None, lzma.compress])
def test_a_pickle_of_colabfold(real_data, tmp_path, pack):
    path = real_data / "colabfold_5awl" / "5AWL_single.pkl"
    content = pickle.loads(path.read_bytes())  # known to be harmless
    if pack:
        (tmp_path / "x.pkl.xz").write_bytes(pack(path.read_bytes()))
        path = tmp_path / "x.pkl.xz"
    found, _ = imported(path)
    holds(found, {"outputs/distogram_logits": content["distogram"]["logits"], LDDT.format(""): content["plddt"]})


def test_openfold3(real_data):
    found, manifest = imported(real_data / "openfold3")
    stem = "openfold3/ubiquitin_seed_42_sample_{}_confidences{}.json"
    holds(found, judged(
        real_data,
        *((stem.format(k, ""), "pde", f"outputs/sample_{k}/predicted_distance_error") for k in (1, 2)),
        *((stem.format(k, ""), "plddt", f"outputs/sample_{k}/atom_plddts") for k in (1, 2)),
        *((stem.format(k, "_aggregated"), key, f"outputs/sample_{k}/{key}")
          for k in (1, 2) for key in ("avg_plddt", "gpde")),
    ))  # fmt: skip
    assert manifest.provenance.seed == 42
    assert len([path for path in found if path.startswith("outputs/")]) == 8
    if gemmi_here():
        assert found["structure/sample_2/atom_positions"].shape == (*found["outputs/sample_2/atom_plddts"].shape, 3)
        assert [chain.stop for chain in manifest.chains] == [76]


def test_alphafold2_with_pickles_and_without(real_data):
    folder = real_data / "alphapulldown_af2" / "P0DPR3_and_P0DPR3"
    found, _ = imported(folder)
    for number in range(1, 6):
        model = f"model_{number}_multimer_v3_pred_0"
        content = pickle.loads((folder / f"result_{model}.pkl").read_bytes())  # known to be harmless
        logits = content["distogram"]["logits"]
        expected = {ERRORS: content["predicted_aligned_error"], "outputs/{}distogram_logits": logits}
        holds(found, {place.format(f"{model}/"): array for place, array in expected.items()})
    folder, name = real_data / "alphapulldown_af2", "TEST_and_TEST_and_TEST/{}_model_{}_multimer_v3_pred_0.json"
    found, _ = imported(folder / "TEST_and_TEST_and_TEST")
    holds(found, judged(
        folder,
        *((name.format("pae", k), "predicted_aligned_error", ERRORS.format(f"model_{k}_multimer_v3_pred_0/"))
          for k in range(1, 6)),
        *((name.format("confidence", k), "confidenceScore", LDDT.format(f"model_{k}_multimer_v3_pred_0/"))
          for k in range(1, 6)),
    ))  # fmt: skip
