"""Prototype archives: unpadded names, every value, nothing run, nothing silently missing."""

from __future__ import annotations

import json
import shutil

import numcodecs
import numpy as np
import pytest
import zarr

from harness.trace.manifest import Metadata
from tests.outputs import HEADS, N, attention, prototype_zarr, same, values


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_archive_is_mapped_whole(tmp_path, bring, zarr_format):
    path, expected = prototype_zarr(tmp_path / "run.vizfold.zarr", zarr_format)
    found, manifest = bring(path, name="imported.slim.zarr")
    same(found, expected)
    assert manifest.metadata == Metadata(model_version="v2.2", num_residues=N, num_recycles=3)
    assert manifest.provenance.note == 'it also states {"mood": "good"}'
    assert [spec.layer for spec in manifest.tensors if spec.path.startswith("pair/")] == [9, 10]
    assert list(manifest.provenance.files) == ["run.vizfold.zarr"]


def test_text_in_arrays_is_metadata(tmp_path, bring):
    path, _ = prototype_zarr(tmp_path / "run.zarr", 2)
    root = zarr.open_group(path)
    for name, value in (
        ("model_version", np.array("openfold-v2.2.0")),
        ("representation_names", np.array(["layer_00", "layer_01"])),
        ("recycle_info", np.array([0.5, 0.75])),
        ("sequence", np.array("M" * N)),
    ):
        root.create_array(f"metadata/{name}", data=value)
    found, manifest = bring(path)
    assert found["inputs/sequence"].tobytes() == b"M" * N
    assert manifest.metadata.model_version == "openfold-v2.2.0"
    assert manifest.metadata.representation_names == ("layer_00", "layer_01")
    assert manifest.metadata.recycle_info == "[0.5, 0.75]"


def test_drafts_of_the_layout_lead_to_the_same_tensors(tmp_path, bring):
    path, expected = prototype_zarr(tmp_path / "run.zarr")
    shutil.rmtree(path / "structure")
    shutil.rmtree(path / "attention")
    root = zarr.open_group(path)
    root.create_array("structure/atom_positions", data=expected["structure/atom_positions"].reshape(-1, 3))
    root.create_array("structure/atom_mask", data=expected["structure/atom_mask"].reshape(-1))
    for layer in (9, 10):
        maps = expected[f"attention/triangle_start/layer_{layer}"]
        root.create_array(f"attention/triangle_start/layer_{layer:02d}", data=np.moveaxis(maps, 0, -1).copy())
    del expected["structure/ptm"]
    found, manifest = bring(path)
    same(found, expected)
    assert "heads moved from the last axis to the first" in manifest.provenance.note


def test_a_prototype_of_the_vision_stage_keeps_its_axes(tmp_path, bring):
    root = zarr.create_group(tmp_path / "inference_trace.zarr", zarr_format=2)
    root.create_array("attention/layer_0", data=values(1, 2, 4, 9, 9))
    root.create_array("inputs/images", data=values(2, 2, 1, 8, 8))
    root.attrs.update({"model_name": "ViT", "num_heads": 4, "num_layers": "six"})
    found, manifest = bring(tmp_path / "inference_trace.zarr")
    assert found["attention/layer_0"].shape == (2, 4, 9, 9)
    assert manifest["attention/layer_0"].axes == ("image", "head", "token", "token")
    assert manifest.metadata == Metadata(model_name="ViT", num_heads=4)
    assert "six" in manifest.provenance.note  # no number, so no field of the schema


def test_a_chunk_that_is_not_stored_is_told(tmp_path, bring):
    path, expected = prototype_zarr(tmp_path / "run.zarr")
    (path / "representations/pair/layer_09/c/0/0/0").unlink()
    found, manifest = bring(path)
    assert not found["pair/layer_9"].any()  # as Zarr reads it
    assert found["pair/layer_10"].tobytes() == expected["pair/layer_10"].tobytes()
    assert "1 of 1 chunks of representations/pair/layer_09 are not stored" in manifest.provenance.note


def _json(path, **change):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _metadata_that_was_changed(path, root):
    root.create_array("metadata/num_residues", data=np.array([N]), compressors=zarr.codecs.GzipCodec(), overwrite=True)
    (path / "metadata/num_residues/c/0").write_bytes(b"what is no gzip")


PAIR, MAPS = "representations/pair/layer_09", "attention/triangle_start/layer_09"


@pytest.mark.parametrize(
    ("damage", "code", "parts"),
    [
        (lambda path, root: (path / "zarr.json").unlink(), 1, ["has neither zarr.json nor .zgroup"]),
        (lambda path, root: _cut(path / "zarr.json"), 1, ["run.zarr cannot be read"]),
        (lambda path, root: _cut(path / PAIR / "zarr.json"), 1, ["run.zarr cannot be read"]),
        (lambda path, root: _json(path / PAIR / "zarr.json", shape=[N, N]), 1, ["run.zarr"]),
        (lambda path, root: _cut(path / PAIR / "c/0/0/0"), 1, [PAIR, "truncated or damaged"]),
        (lambda path, root: (path / PAIR / "c/0/0/0").write_bytes(b""), 1, [PAIR, "truncated or damaged"]),
        (_metadata_that_was_changed, 1, ["run.zarr/metadata/num_residues cannot be read"]),
        (
            lambda path, root: root.create_array(MAPS, data=values(1, HEADS, N, N, N), overwrite=True),
            1,
            [MAPS, "attention of one layer is (heads, residues, residues)"],
        ),
        (
            lambda path, root: root.create_array(MAPS, data=attention(1, n=N + 1), overwrite=True),
            1,
            [f"expected {N} residues", f"shape ({HEADS}, {N + 1}, {N + 1})"],
        ),
        (lambda path, root: root.create_array(PAIR, data=values(1, N, N), overwrite=True), 1, [PAIR, "expected axes"]),
        (
            lambda path, root: root.create_array(PAIR.replace("09", "9"), data=values(1, N, N, 2)),
            1,
            ["pair/layer_9 is also in"],
        ),
    ],
)
def test_a_broken_archive_is_refused(tmp_path, refused, damage, code, parts):
    path, _ = prototype_zarr(tmp_path / "run.zarr")
    damage(path, zarr.open_group(path))
    refused(path, code, *parts)


def test_a_store_with_links_is_refused(tmp_path, refused):
    path, _ = prototype_zarr(tmp_path / "run.zarr")
    chunk = path / PAIR / "c/0/0/0"
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    refused(path, 1, str(chunk), "is a link out of the store")


class Runs:
    ran = False

    def __reduce__(self):
        return setattr, (Runs, "ran", True)


@pytest.mark.parametrize(
    "change",
    [
        {"filters": [{"id": "pickle", "protocol": 4}]},
        {"compressor": {"id": "pickle", "protocol": 4}},
        {"filters": [{"id": "pickle", "protocol": 4}], "dtype": "|O", "fill_value": None},
        {"filters": [{"id": "base64"}]},
    ],
)
def test_a_codec_that_runs_what_it_decodes_or_is_not_known_is_refused(tmp_path, refused, change):
    path = tmp_path / "run.zarr"
    root = zarr.create_group(path, zarr_format=2)
    root.create_array("representations/single/layer_00", data=values(1, N, 3), compressors=None)
    folder = path / "representations" / "single" / "layer_00"
    _json(folder / ".zarray", **change)
    (folder / "0.0").write_bytes(numcodecs.Pickle().encode(np.array([Runs()], object)))
    said = refused(path, 1, "run.zarr")
    assert "pickle" in said or "is stored with 'base64', which is not a supported codec" in said
    assert not Runs.ran
