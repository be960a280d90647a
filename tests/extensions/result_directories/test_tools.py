"""A tool that knows nothing of this harness reads the same from a slimmed directory, every sample of it.

It reads by the rules of AlphaJudge 1.4 and AlphaPulldown, with the standard library alone. Of AlphaFold3: the scores,
and of each sample ``confidences.json``, ``.json.xz`` or ``.json.gz``, the first that is there. Of AlphaFold2: the
errors from plain ``pae_*.json``, and the result pickle as ``.pkl``, ``.pkl.gz`` or ``.pkl.xz``.
"""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.directories import MODELS, af2, af3, openfold3
from harness.extensions.result_directories.slimming import slim


def first(path: Path, suffixes: tuple[str, ...]) -> bytes | None:
    """The bytes of a file under the first name that is there."""
    for suffix in suffixes:
        found = path.with_name(path.name + suffix)
        if found.is_file():
            data = found.read_bytes()
            return {"": bytes, ".xz": lzma.decompress, ".gz": gzip.decompress}[suffix](data)
    return None


def read_af3(folder: Path) -> dict[str, Any]:
    """The scores, the structure and the full confidences of every sample."""
    (ranking,) = folder.glob("*ranking_scores.csv")
    found: dict[str, Any] = {}
    for row in csv.DictReader(ranking.read_text().splitlines()):
        sample = folder / f"seed-{row['seed']}_sample-{row['sample']}"
        data = first(sample / "confidences.json", ("", ".xz", ".gz"))
        found[sample.name] = data and {
            "score": row["ranking_score"],
            "summary": json.loads((sample / "summary_confidences.json").read_text()),
            "structure": (sample / "model.cif").read_text(),
            **json.loads(data),
        }
    return found


def read_af2(folder: Path) -> dict[str, Any]:
    """Of every ranked model the errors of its JSON, or else of its pickle, and its distogram."""
    found: dict[str, Any] = {}
    for rank, model in enumerate(json.loads((folder / "ranking_debug.json").read_text())["order"]):
        table, packed = folder / f"pae_{model}.json", first(folder / f"result_{model}.pkl", ("", ".gz", ".xz"))
        result = pickle.loads(packed) if packed is not None else {}
        error = json.loads(table.read_text())[0] if table.is_file() else result
        found[model] = {
            "error": np.asarray(error["predicted_aligned_error"]).tolist() if error else None,
            "distogram": {key: value.tobytes() for key, value in result.get("distogram", {}).items()},
            "structure": (folder / f"ranked_{rank}.pdb").read_text(),
        }
    return found


def read_openfold3(folder: Path) -> dict[str, Any]:
    """The best sample alone, plain."""
    scores = {path: json.loads(path.read_text())["avg_plddt"] for path in folder.glob("*_aggregated.json")}
    best = max(scores, key=scores.__getitem__)
    return {best.name: json.loads(best.with_name(best.name.replace("_aggregated", "")).read_text())}


CASES = [(af2, read_af2), (af3, read_af3), (openfold3, read_openfold3)]


@pytest.mark.parametrize(("make", "read"), CASES)
def test_a_slimmed_directory_reads_the_same(tmp_path, make, read):
    folder = make(tmp_path / "job")
    before = read(folder)
    done = slim(folder, "slim")
    assert not done.problems and done.changed
    after = read(folder)
    assert all(after.values()) and after == before


@pytest.mark.parametrize(("make", "read"), CASES)
def test_the_reader_can_tell(tmp_path, make, read):
    folder = make(tmp_path / "job")
    before = read(folder)
    slim(folder, "slim", plain="none")
    try:
        assert read(folder) != before
    except FileNotFoundError:
        assert make is openfold3


def test_pickles_with_the_same_bytes_are_each_found(tmp_path):
    folder = af2(tmp_path / "job")
    for model in MODELS[1:]:
        shutil.copyfile(folder / f"result_{MODELS[0]}.pkl", folder / f"result_{model}.pkl")
    before = read_af2(folder)
    slim(folder, "slim")
    assert read_af2(folder) == before and not list(folder.glob("*.pkl"))


def test_what_minimal_rounds_is_read_within_the_bound_and_what_it_drops_is_not_read_as_zeros(tmp_path):
    folder = af3(tmp_path / "af3")
    before = read_af3(folder)
    slim(folder, "minimal", bound=0.2)
    after = read_af3(folder)
    for sample, values in before.items():
        assert np.abs(np.subtract(values["pae"], after[sample]["pae"])).max() <= 0.2 * (1 + 1e-9)
        assert {**values, "pae": 0} == {**after[sample], "pae": 0}
    folder = af2(tmp_path / "af2")
    done = slim(folder, "minimal", bound=0.2)
    assert {model: values["distogram"] for model, values in read_af2(folder).items()} == {model: {} for model in MODELS}
    assert done.read_by("harness") == tuple(f"result_{model}.pkl" for model in MODELS) and not done.read_by("unslim")


@pytest.mark.parametrize(
    ("relative", "read"),
    [
        ("af3_pdl1", read_af3),
        ("alphapulldown_af2/P0DPR3_and_P0DPR3", read_af2),
        ("alphapulldown_af2/TEST_and_TEST_and_TEST", read_af2),
        ("openfold3", read_openfold3),
    ],
)
def test_a_real_directory_reads_the_same(tmp_path, real_data, relative, read):
    if not (real_data / relative).is_dir():
        pytest.skip(f"HARNESS_DATA has no {relative}; made-up directories are tested the same way")
    folder = tmp_path / "job"
    shutil.copytree(real_data / relative, folder, copy_function=shutil.copyfile)
    for path in folder.rglob("."):
        path.chmod(0o755)
    before = read(folder)
    assert not slim(folder, "slim").problems
    after = read(folder)
    assert all(after.values()) and after == before
