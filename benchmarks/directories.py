"""Result directories: small synthetic ones as the programs write them, and the places of real ones."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.files import file_digest

MODELS = tuple(f"model_{number}_multimer_v3_pred_0" for number in (1, 2, 3))


REAL = ("alphapulldown_af2/P0DPR3_and_P0DPR3", "alphapulldown_af2/TEST_and_TEST_and_TEST", "af3_pdl1", "openfold3")
"""Below the folder that HARNESS_DATA names: AlphaFold2 with pickles, AlphaFold2 without, AlphaFold3, OpenFold3."""


def real() -> Iterator[Path]:
    """Yield the real directories that exist."""
    data = os.environ.get("HARNESS_DATA")
    if data:
        yield from (Path(data) / name for name in REAL if (Path(data) / name).is_dir())


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, by its path; links are not followed."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def result(n_res: int, seed: int) -> dict[str, Any]:
    """Return the content of a result pickle of AF2; float32 values of the aligned error have no short decimals."""
    random = np.random.default_rng(seed)
    half = random.normal(0, 3, (n_res, n_res, 64)).astype(np.float32)
    probabilities = random.dirichlet(np.ones(64), (n_res, n_res)).astype(np.float32)
    error = (31.75 * random.random((n_res, n_res))).astype(np.float32)
    return {
        "distogram": {"bin_edges": np.linspace(2, 22, 63, dtype=np.float32), "logits": half + half.swapaxes(0, 1)},
        "masked_msa": {"logits": random.normal(0, 2, (16, n_res, 22)).astype(np.float32)},
        "aligned_confidence_probs": probabilities,
        "predicted_aligned_error": error,
        "max_predicted_aligned_error": np.float32(31.75),
        "num_recycles": np.array(3, np.int32),
        "structure_module": {
            "final_atom_positions": random.normal(0, 20, (n_res, 37, 3)).astype(np.float32),
            "final_atom_mask": np.ones((n_res, 37), np.float32),
        },
        "plddt": 100 * random.random(n_res),
        "ptm": np.float64(random.random()),
        "iptm": np.float64(random.random()),
        "ranking_confidence": float(random.random()),
    }


def af2(folder: Path, n_res: int = 14, scores: tuple[float, ...] = (0.2, 0.9, 0.4), sidecars: bool = True) -> Path:
    """Make an AF2-multimer directory."""
    folder.mkdir(parents=True)
    for number, model in enumerate(MODELS):
        content = result(n_res, number)
        (folder / f"result_{model}.pkl").write_bytes(pickle.dumps(content, protocol=4))
        if sidecars:
            rounded = np.round(content["predicted_aligned_error"].astype(np.float64), 1).tolist()
            pae = [{"predicted_aligned_error": rounded, "max_predicted_aligned_error": 31.75}]
            (folder / f"pae_{model}.json").write_text(json.dumps(pae, separators=(",", ":")))
            confidence = {
                "residueNumber": list(range(1, n_res + 1)),
                "confidenceScore": content["plddt"].round(2).tolist(),
            }
            (folder / f"confidence_{model}.json").write_text(json.dumps(confidence))
        (folder / f"unrelaxed_{model}.pdb").write_text(f"ATOM {number}\nEND\n")
        (folder / f"ranked_{number}.pdb").write_text(f"ATOM {number}\nEND\n")
    order = sorted(MODELS, key=lambda model: -scores[MODELS.index(model)])
    ranking = {"iptm+ptm": dict(zip(MODELS, scores, strict=True)), "order": order}
    (folder / "ranking_debug.json").write_text(json.dumps(ranking, indent=4))
    (folder / "timings.json").write_text("{}")
    return folder


def confidences(n_res: int, seed: int) -> str:
    """Return a confidences.json as AF3 writes it."""
    random = np.random.default_rng(seed)
    content = {
        "atom_plddts": (100 * random.random(5 * n_res)).round(2).tolist(),
        "contact_probs": random.random((n_res, n_res)).round(2).tolist(),
        "pae": (31 * random.random((n_res, n_res))).round(1).tolist(),
        "token_chain_ids": ["A"] * n_res,
        "token_res_ids": list(range(1, n_res + 1)),
    }
    return json.dumps(content, indent=1)


def af3(folder: Path, n_res: int = 24, scores: tuple[float, ...] = (0.3, 0.8, 0.5), job: str = "job") -> Path:
    """Make an AF3 directory of one seed."""
    folder.mkdir(parents=True)
    rows = ["seed,sample,ranking_score"]
    for number, score in enumerate(scores):
        sample = folder / f"seed-1_sample-{number}"
        sample.mkdir()
        (sample / "confidences.json").write_text(confidences(n_res, number))
        (sample / "summary_confidences.json").write_text(json.dumps({"ptm": 0.5, "iptm": 0.4, "ranking_score": score}))
        (sample / "model.cif").write_text(f"data_{number}\n")
        rows.append(f"1,{number},{score}")
    best = folder / f"seed-1_sample-{scores.index(max(scores))}"
    for name in ("confidences.json", "summary_confidences.json", "model.cif"):
        (folder / f"{job}_{name}").write_bytes((best / name).read_bytes())
    sequences = [{"protein": {"id": "A", "sequence": "M" * n_res, "unpairedMsa": ">q\n" + "MKV" * 400}}]
    (folder / f"{job}_data.json").write_text(json.dumps({"name": job, "modelSeeds": [1], "sequences": sequences}))
    (folder / "ranking_scores.csv").write_text("\n".join(rows) + "\n")
    return folder


def openfold3(folder: Path, n_res: int = 24) -> Path:
    """Make an OpenFold3 directory: float32 values written with all their digits."""
    folder.mkdir(parents=True)
    for number in (1, 2):
        random = np.random.default_rng(number)
        pde = random.random((n_res, n_res)).astype(np.float32)
        content = {"plddt": (100 * random.random(5 * n_res)).astype(np.float32).tolist(), "pde": (pde + pde.T).tolist()}
        name = f"query_seed_42_sample_{number}"
        (folder / f"{name}_confidences.json").write_text(json.dumps(content, indent=4))
        (folder / f"{name}_confidences_aggregated.json").write_text(
            json.dumps({"avg_plddt": 76.1 - number, "gpde": 0.58})
        )
        (folder / f"{name}_model.cif").write_text(f"data_{number}\n")
    return folder
