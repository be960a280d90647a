"""The seed script's three files hold the same tensors, and come back as the same trace."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import zarr

from harness.foreign.opening import Asked, open_paths
from harness.trace.manifest import Metadata
from tests.outputs import LAYERS, N, same, seed_hdf5, seed_npz, seed_tensors, seed_zarr, values

WRITERS = {"data.npz": seed_npz, "data.h5": seed_hdf5, "data.zarr": seed_zarr}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_comes_back_as_the_same_trace(tmp_path, bring, name):
    found, manifest = bring(WRITERS[name](tmp_path / name), name="imported.npz")
    same(found, seed_tensors())
    assert [spec.path for spec in manifest.tensors] == list(seed_tensors())
    assert manifest.metadata == Metadata(num_residues=N)
    assert manifest.provenance.note is None and list(manifest.provenance.files) == [name]


def test_ten_and_more_layers_stay_in_order(tmp_path, bring):
    arrays = {f"act_{k}_{kind}": values(k, *((4, 4, 2) if kind == "pair" else (4, 2))) for k in range(11)
              for kind in ("single", "pair")} | {f"attn_{k}": values(k, 2, 4, 4) for k in range(11)}  # fmt: skip
    np.savez(tmp_path / "data.npz", **arrays, coords=values(1, 4, 3), conf=values(2, 4), extra=np.zeros(2))
    _, manifest = bring(tmp_path / "data.npz")
    layers = [spec.layer for spec in manifest.tensors if spec.layer is not None]
    assert layers == sorted(layers) and layers[-1] == 10
    assert manifest.provenance.note == "left out: extra"


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize("name", ["data.npz", "data.h5"])
def test_a_truncated_file_is_refused(tmp_path, refused, name):
    path = WRITERS[name](tmp_path / name)
    _cut(path)
    refused(path, 1, name, "truncated or damaged")


def test_a_file_whose_writing_was_not_finished_is_refused(tmp_path, refused):
    path = seed_hdf5(tmp_path / "data.h5")
    with h5py.File(path, "r+") as file:
        del file["outputs/conf"]
    refused(path, 1, "lacks outputs/confidence_scores", "writing was not finished")
    with h5py.File(path, "r+") as file:
        del file[f"attention/layer_{LAYERS - 1}"]
    refused(path, 1, f"lacks attention/layer_{LAYERS - 1}")


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda root, path: root.create_array("attention/layer_1", data=values(1, N, N), overwrite=True), ["expected"]),
        (
            lambda root, path: root.create_array("attention/layer_1", data=values(1, 3, N, 4), overwrite=True),
            [f"expected {N} residues"],
        ),
        (lambda root, path: (path / "attention/layer_1/0.0.0").write_bytes(b"\2\1\1\4"), ["attention/layer_1"]),
        (lambda root, path: _cut(path / "attention/layer_1/0.0.0"), ["attention/layer_1", "truncated or damaged"]),
    ],
)
def test_a_broken_store_is_refused(tmp_path, refused, damage, parts):
    path = seed_zarr(tmp_path / "data.zarr")
    damage(zarr.open_group(path), path)
    refused(path, 1, *parts)


def test_values_that_lie_in_another_file_are_refused(tmp_path, refused):
    path = seed_hdf5(tmp_path / "data.h5")
    (tmp_path / "elsewhere").write_bytes(values(1, N).tobytes())
    with h5py.File(path, "r+") as file:
        del file["outputs/conf"]
        file.create_dataset("outputs/conf", (N,), "f4", external=[(str(tmp_path / "elsewhere"), 0, 4 * N)])
    refused(path, 1, "the values of outputs/conf lie in another file")
    with h5py.File(path, "r+") as file:
        del file["outputs/conf"]
        file["outputs/conf"] = h5py.ExternalLink("other.h5", "x")
    refused(path, 1, "lacks outputs/confidence_scores")


def test_arrays_that_are_named_alike_are_not_taken_for_it(tmp_path):
    np.savez(tmp_path / "mine.npz", attn_0=values(1, 2, 5, 5), z=values(2, 5, 5, 3))
    trace = open_paths(Asked(paths=(tmp_path / "mine.npz",)))
    assert [spec.path for spec in trace.manifest.tensors] == ["attn_0", "z"]
