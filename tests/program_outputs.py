"""What structure predictors write, tiny and made up: each folder with its arrays by their places in a trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.foreign.opening import Asked, open_paths
from harness.foreign.source import ImportedTrace
from harness.trace.manifest import Manifest
from tests.outputs import N, pickled, torch_save, values

ATOMS = N + 4
_CHAINS = [{"protein": {"id": "A", "sequence": "AC", "modifications": [{"ptmType": "HY3", "ptmPosition": 1}]}}]
_BONDS = [[["A", 1, "SG"], ["B", 1, "C04"]]]
Arrays = dict[str, np.ndarray]
Made = tuple[Path, Arrays]


def read_source(path: Path, kind: str | None = None) -> ImportedTrace:
    """Open a source as a trace that knows its files."""
    trace = open_paths(Asked(paths=(path,), kind=kind or "")).identified()
    assert isinstance(trace, ImportedTrace)
    return trace


def imported(path: Path, kind: str | None = None) -> tuple[Arrays, Manifest]:
    """Read a source to its end, as an archive of it would be written."""
    trace = read_source(path, kind)
    arrays = {}
    for spec in trace.manifest.tensors:
        blocks = list(trace.blocks(spec.path))
        arrays[spec.path] = np.concatenate(blocks) if spec.shape else blocks[0]
    return arrays, trace.manifest


def rounded(seed: int, *shape: int) -> np.ndarray:
    return np.round(values(seed, *shape, dtype="float64"), 2)


def json_file(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def within(arrays: Arrays, label: str) -> Arrays:
    """Give arrays of a prediction the paths that they have beside those of others."""
    return {path.replace("/", f"/{label}/", 1): array for path, array in arrays.items()}


def af3_tables() -> Arrays:
    """The tables of what `af3_sample` is of."""
    return {
        "inputs/chains/name": np.array([[ord("A")], [ord("B")]], np.uint8),
        "inputs/tokens/chain": np.array([0] * 2 + [1] * (N - 2), np.int32),
        "inputs/tokens/residue_index": np.arange(1, N + 1, dtype=np.int64),
    }


def af3_sample(seed: int) -> tuple[dict[str, Any], dict[str, Any], Arrays]:
    """The two documents of a sample, and their arrays."""
    arrays = {
        "outputs/atom_plddts": rounded(seed, ATOMS),
        "outputs/contact_probs": rounded(seed + 1, N, N),
        "outputs/predicted_aligned_error": rounded(seed + 2, N, N),
        "outputs/chain_iptm": np.array([0.5, np.nan]),
        "outputs/chain_pair_iptm": rounded(seed + 3, 2, 2),
        "outputs/chain_pair_pae_min": rounded(seed + 4, 2, 2),
        "outputs/chain_ptm": rounded(seed + 5, 2),
        "outputs/fraction_disordered": np.array(0.0),
        "outputs/has_clash": np.array(0.0),
        "outputs/iptm": np.array(0.9),
        "outputs/ptm": np.array(seed / 100),
        "outputs/ranking_score": np.array(0.7),
    }

    def listed(name: str) -> Any:
        return arrays[f"outputs/{name}"].tolist()

    full = {
        "atom_chain_ids": ["A"] * ATOMS,
        "atom_plddts": listed("atom_plddts"),
        "contact_probs": listed("contact_probs"),
        "pae": listed("predicted_aligned_error"),
        "token_chain_ids": ["A"] * 2 + ["B"] * (N - 2),
        "token_res_ids": list(range(1, N + 1)),
    }
    pairs = [dict(zip("AB", row, strict=True)) for row in listed("chain_pair_iptm")]  # as newer versions write them
    summary = {
        "chain_iptm": [0.5, None],
        "chain_pair_iptm": dict(zip("AB", pairs, strict=True)),
        "chain_pair_pae_min": listed("chain_pair_pae_min"),
        "chain_ptm": dict(zip("AB", listed("chain_ptm"), strict=True)),
        "fraction_disordered": 0.0,
        "has_clash": 0.0,
        "iptm": 0.9,
        "ptm": seed / 100,
        "ranking_score": 0.7,
    }
    return full, summary, arrays


def alphafold3(folder: Path) -> Made:
    """Two samples of a seed, with names as the newest version gives them, and the best again at the top."""
    expected: Arrays = {}
    for sample in (0, 1):
        full, summary, arrays = af3_sample(10 * (sample + 1))
        for place in (f"seed-7_sample-{sample}/job_seed-7_sample-{sample}", *(("job",) if sample == 0 else ())):
            json_file(folder / f"{place}_confidences.json", full)
            json_file(folder / f"{place}_summary_confidences.json", summary)
            (folder / f"{place}_model.cif").write_text("data_job\n")
        expected |= within(arrays, f"sample_{sample}")
    for what in ("embeddings", "distogram"):
        (folder / f"seed-7_{what}").mkdir()
    single, pair, distogram = (values(k, *s, dtype="float16") for k, s in ((1, (N, 6)), (2, (N, N, 4)), (3, (N, N, 8))))
    embeddings = folder / "seed-7_embeddings/job_seed-7_embeddings.npz"
    np.savez_compressed(embeddings, single_embeddings=single, pair_embeddings=pair)
    np.savez_compressed(folder / "seed-7_distogram/job_seed-7_distogram.npz", distogram=distogram)
    (folder / "job_ranking_scores.csv").write_text("seed,sample,ranking_score\n7,0,0.75\n7,1,0.5\n")
    json_file(
        folder / "job_data.json",
        {"name": "job", "modelSeeds": [7], "sequences": _CHAINS, "bondedAtomPairs": _BONDS, "userCCD": None},
    )
    (folder / "TERMS_OF_USE.md").write_text("terms\n")
    return folder, expected | af3_tables() | {
        "inputs/model_seeds": np.array([7]),
        "activations/final/single_repr": single,
        "activations/final/pair_repr": pair,
        "outputs/distogram": distogram,
        "outputs/ranking/seed": np.array([7, 7]),
        "outputs/ranking/sample": np.array([0, 1]),
        "outputs/ranking/ranking_score": np.array([0.75, 0.5]),
    }


def alphafold_server(folder: Path) -> Made:
    expected: Arrays = {}
    for sample in (0, 1):
        full, summary, arrays = af3_sample(10 * (sample + 3))
        json_file(folder / f"fold_job_full_data_{sample}.json", full)
        json_file(folder / f"fold_job_summary_confidences_{sample}.json", summary)
        expected |= within(arrays, f"sample_{sample}")
    json_file(folder / "fold_job_job_request.json", [{"name": "job"}])
    return folder, expected | af3_tables()


def boltz(folder: Path) -> Made:
    folder.mkdir()
    expected: Arrays = {}
    for sample in (0, 1):
        pae, pde, plddt = values(sample, N, N), values(sample + 2, N, N), values(sample + 4, N)
        np.savez_compressed(folder / f"pae_job_model_{sample}.npz", pae=pae)
        np.savez_compressed(folder / f"pde_job_model_{sample}.npz", pde=pde)
        np.savez_compressed(folder / f"plddt_job_model_{sample}.npz", plddt=plddt)
        scores = {"confidence_score": 0.9, "ptm": 0.25, "iptm": 0.5, "complex_plddt": 0.75}
        pairs = {"0": {"0": 1.0, "1": 2.0}, "1": {"0": 3.0, "1": 4.0}}
        chains = {"chains_ptm": {"0": 0.1, "1": 0.2}, "pair_chains_iptm": pairs}
        json_file(folder / f"confidence_job_model_{sample}.json", scores | chains)
        arrays = {
            "outputs/predicted_aligned_error": pae,
            "outputs/predicted_distance_error": pde,
            "outputs/token_plddts": plddt,
            "outputs/confidence_score": np.array(0.9),
            "outputs/ptm": np.array(0.25),
            "outputs/iptm": np.array(0.5),
            "outputs/complex_plddt": np.array(0.75),
            "outputs/chain_ptm": np.array([0.1, 0.2]),
            "outputs/chain_pair_iptm": np.array([[1.0, 2.0], [3.0, 4.0]]),
        }
        expected |= within(arrays, f"sample_{sample}")
    s, z = values(6, 1, N, 6), values(7, 1, N, N, 4)
    np.savez_compressed(folder / "embeddings_job.npz", s=s, z=z)
    (folder / "job_model_0.cif").write_text("data_job\n")
    return folder, expected | {"activations/final/single_repr": s[0], "activations/final/pair_repr": z[0]}


def openfold3(folder: Path) -> Made:
    """Two samples of a seed: one as JSON, one as NPZ; and latent outputs."""
    (folder / "seed_42").mkdir(parents=True)
    expected: Arrays = {}
    for sample in (1, 2):
        stem = folder / "seed_42" / f"job_seed_42_sample_{sample}"
        full = {"plddt": rounded(sample, ATOMS), "pde": rounded(sample + 2, N, N), "pae": rounded(sample + 4, N, N)}
        if sample == 1:
            json_file(Path(f"{stem}_confidences.json"), {name: array.tolist() for name, array in full.items()})
        else:
            full = {name: array.astype(np.float16) for name, array in full.items()}
            np.savez_compressed(f"{stem}_confidences.npz", **full, allow_pickle=False)
        aggregated = {"avg_plddt": 76.5, "gpde": 0.5, "iptm": float("nan"), "chain_ptm": {"A": 0.5}, "bespoke_iptm": {}}
        json_file(Path(f"{stem}_confidences_aggregated.json"), aggregated)
        arrays = {
            "outputs/atom_plddts": full["plddt"],
            "outputs/predicted_distance_error": full["pde"],
            "outputs/predicted_aligned_error": full["pae"],
            "outputs/avg_plddt": np.array(76.5),
            "outputs/gpde": np.array(0.5),
            "outputs/iptm": np.array(np.nan),
            "outputs/chain_ptm": np.array([0.5]),
        }
        expected |= within(arrays, f"sample_{sample}")
    latent = {
        "si_trunk": values(1, 1, N, 6),
        "zij_trunk": values(2, 1, N, N, 4),
        "atom_positions_predicted": values(3, 1, 2, ATOMS, 3),
        "recycles": 3,
    }
    torch_save(folder / "seed_42" / "job_seed_42_latent_output.pt", latent)
    json_file(folder / "seed_42" / "timing.json", {"inference": 1.5})
    return folder, expected | {
        "activations/final/single_repr": latent["si_trunk"][0],
        "activations/final/pair_repr": latent["zij_trunk"][0],
        "structure/atom_positions_predicted": latent["atom_positions_predicted"][0],
        "outputs/recycles": np.array(3),
    }


def colabfold(folder: Path) -> Made:
    """Two ranks; the first has the whole result and representations too."""
    folder.mkdir()
    expected: Arrays = {}
    for rank in (1, 2):
        tag = f"rank_{rank:03d}_alphafold2_multimer_v3_model_{rank}_seed_000"
        plddt, pae = rounded(rank, N), rounded(rank + 2, N, N)
        scores = {"plddt": plddt.tolist(), "max_pae": 31.5, "pae": pae.tolist(), "ptm": 0.5, "iptm": 0.25}
        json_file(folder / f"job_scores_{tag}.json", scores | {"per_chain_ptm": {"A": 0.5, "B": 0.75}})
        (folder / f"job_unrelaxed_{tag}.pdb").write_text("END\n")
        arrays = {
            "outputs/confidence_scores": plddt,
            "outputs/max_predicted_aligned_error": np.array(31.5),
            "outputs/predicted_aligned_error": pae,
            "structure/ptm": np.array(0.5),
            "outputs/iptm": np.array(0.25),
            "outputs/per_chain_ptm": np.array([0.5, 0.75]),
        }
        if rank == 1:
            trunk = {"single": values(10, N, 6), "pair": values(11, N, N, 4)}
            result = {"plddt": values(9, N), "representations": trunk}
            pickled(folder / f"job_all_{tag}.pickle", result)
            arrays["outputs/scores/confidence_scores"] = plddt
            arrays["outputs/confidence_scores"] = result["plddt"]
            arrays["activations/final/single_repr"] = result["representations"]["single"]
            arrays["activations/final/pair_repr"] = result["representations"]["pair"]
        else:
            single, pair = values(12, N, 6), values(13, N, N, 4)
            np.save(folder / f"job_single_repr_{tag}.npy", single)
            np.save(folder / f"job_pair_repr_{tag}.npy", pair)
            arrays |= {"activations/final/single_repr": single, "activations/final/pair_repr": pair}
        expected |= within(arrays, f"rank_{rank}")
    error = rounded(5, N, N)
    json_file(
        folder / "job_predicted_aligned_error_v1.json",
        {"predicted_aligned_error": error.tolist(), "max_predicted_aligned_error": 31.75},
    )
    settings = {"model_type": "alphafold2_multimer_v3", "num_recycles": 3, "version": "1.5.5", "rank_by": "multimer"}
    json_file(folder / "config.json", settings)
    (folder / "job.a3m").write_text(">101\nA\n")
    return folder, expected | {
        "outputs/predicted_aligned_error": error,
        "outputs/max_predicted_aligned_error": np.array(31.75),
    }


def alphafold2(folder: Path) -> Made:
    """Two pickled results, and what AlphaPulldown keeps beside them."""
    folder.mkdir()
    expected: Arrays = {}
    for number in (1, 2):
        model = f"model_{number}_multimer_v3_pred_0"
        content = {"plddt": values(number, N), "ptm": [0.5], "num_recycles": np.array(3), "seqs": ["ACDEF", "GHIKLM"]}
        pickled(folder / f"result_{model}.pkl", content)
        error = rounded(number, N, N)
        json_file(folder / f"pae_{model}.json", [{"predicted_aligned_error": error.tolist()}])
        arrays = {
            "outputs/confidence_scores": content["plddt"],
            "structure/ptm": np.array(0.5),
            "outputs/predicted_aligned_error": error,
        }
        expected |= within(arrays, model)
    json_file(folder / "ranking_debug.json", {"iptm+ptm": {}, "order": []})
    return folder, expected | {"inputs/sequence": np.frombuffer(b"ACDEFGHIKLM", np.uint8)}


PROGRAMS: dict[str, tuple[str, Callable[[Path], Made]]] = {
    "AlphaFold3": ("alphafold3", alphafold3),
    "AlphaFold server": ("alphafold3", alphafold_server),
    "Boltz": ("boltz", boltz),
    "OpenFold3": ("openfold3", openfold3),
    "ColabFold": ("colabfold", colabfold),
    "AlphaFold2": ("prediction-pickle", alphafold2),
}
