"""Archives in layouts of other programs: every bit by their libraries alone, complete or absent, nothing made up."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import zarr

import harness
from harness import registry
from harness.cli import main
from harness.extensions.exporting.npz import NpzLayout
from harness.extensions.exporting.safetensors import SafetensorsLayout
from harness.extensions.exporting.vizfold import VizFoldLayout
from harness.formats.archive import open_archive, write_archive
from harness.formats.base import load_format
from harness.testing.samples import StepTrace, bfloat16_exact
from harness.trace.manifest import Manifest, Metadata, Provenance
from harness.trace.schema import tensor
from harness.trace.sources import open_trace
from harness.trace.stream import MemoryTrace, digest, digest_blocks
from tests.outputs import HEADS, N, attention, same, values

Arrays = dict[str, np.ndarray]

# By the name in the schema, that of VizFold.
VIZFOLD = {
    "inputs/sequence": "inputs/sequence",
    "inputs/residue_index": "metadata/residue_index",
    "single/layer_9": "representations/single/layer_09",
    "single/layer_10": "representations/single/layer_10",
    "pair/layer_0": "representations/pair/layer_00",
    "activations/layer_0/pair_repr": "activations/layer_00/pair_repr",
    "attention/layer_0": "attention/layer_00",
    "attention/triangle_start/layer_100": "attention/triangle_start/layer_100",
    "recycle/step_1/pair_repr": "recycle/step_01/pair_repr",
    "structure/atom_positions": "structure/atom_positions",
    "structure/atom_mask": "structure/atom_mask",
    "structure/ptm": "structure/ptm",
    "outputs/empty": "outputs/empty",
    "outputs/zeros": "outputs/zeros",
}
MAPS = "attention/triangle_end/layer_0"  # of every residue, which VizFold's readers do not take
METADATA = Metadata(
    model_name="none", model_version="v2.2", config_version="model_1", num_residues=N, num_recycles=3,
    recycle_info="[0.5]", representation_names=("single", "pair"),
)  # fmt: skip


def _arrays() -> Arrays:
    pair = bfloat16_exact(values(1, N, N, 5))
    return {
        "inputs/sequence": np.frombuffer(b"ACDEFGHIKLM", np.uint8),
        "inputs/residue_index": np.arange(3, N + 3),
        "single/layer_9": values(9, N, 7, dtype="float16"),
        "single/layer_10": values(10, N, 7, dtype="float64"),
        "pair/layer_0": pair,
        "activations/layer_0/pair_repr": pair.copy(),
        "attention/layer_0": attention(2),
        "attention/triangle_start/layer_100": attention(3),
        MAPS: values(4, N, HEADS, N, N),
        "recycle/step_1/pair_repr": values(5, N, N, 5),
        "structure/atom_positions": values(6, N, 37, 3),
        "structure/atom_mask": np.arange(N * 37).reshape(N, 37) % 3 > 0,
        "structure/ptm": np.array(0.5, np.float32),
        "outputs/empty": np.zeros((0, 7), np.int16),
        "outputs/zeros": np.full((70, 3), -0.0, np.float32),
    }


ARRAYS = _arrays()


def archive(folder: Path, arrays: Mapping[str, np.ndarray], metadata: Metadata = METADATA) -> Path:
    axes = {"inputs/residue_index": ("residue",)}
    specs = tuple(tensor(name, each.shape, each.dtype, axes=axes.get(name)) for name, each in arrays.items())
    provenance = Provenance(source="made for a test", trained=False)
    trace = MemoryTrace("memory", Manifest(tensors=specs, metadata=metadata, provenance=provenance), arrays)
    write_archive(trace, load_format("raw"), folder / "trace.raw")
    return folder / "trace.raw"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive(tmp_path_factory.mktemp("source"), ARRAYS)


def by_numpy(path: Path) -> Arrays:
    with np.load(path) as file:
        return dict(file)


def by_safetensors(path: Path) -> Arrays:
    library = pytest.importorskip("safetensors.numpy", reason="pip install 'trace-format-harness[safetensors]'")
    found: Arrays = library.load_file(path)
    return found


def by_zarr(path: Path) -> Arrays:
    root, names = zarr.open_group(path, mode="r"), {name: path for path, name in VIZFOLD.items()}
    found = {name: np.asarray(each[...]) for name, each in root.members(max_depth=None) if isinstance(each, zarr.Array)}
    return {names[name]: each for name, each in found.items() if name in names}


@pytest.mark.parametrize(
    ("layout", "library"), [("npz", by_numpy), ("safetensors", by_safetensors), ("vizfold", by_zarr)]
)
def test_the_library_alone_reads_every_bit(
    layout: str, library: Callable[[Path], Arrays], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if layout == "safetensors":
        pytest.importorskip("safetensors", reason="pip install 'trace-format-harness[safetensors]'")
    path = tmp_path / "out"
    assert main(["export", str(source), str(path), "--layout", layout]) == 0
    expected = {name: each for name, each in ARRAYS.items() if name != MAPS or layout != "vizfold"}
    same(library(path), expected)
    said = capsys.readouterr().out
    assert f"{len(expected)} tensors" in said and "Its values are untrained" in said
    assert ("Left out" in said and MAPS in said) == (layout == "vizfold")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_safetensors_lie_as_the_library_lays_them(source: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors", reason="pip install 'trace-format-harness[safetensors]'")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    assert main(["export", str(source), str(ours), "--layout", "safetensors"]) == 0
    by_safetensors(ours)
    library.numpy.save_file(ARRAYS, theirs)
    with library.safe_open(ours, "numpy") as mine, library.safe_open(theirs, "numpy") as other:
        sizes = [mine.get_slice(name).get_dtype() for name in mine.offset_keys()]
        assert sorted(mine.offset_keys()) == sorted(other.offset_keys())
        assert sizes[:1] == ["F64"] and sizes[-1:] == ["BOOL"]
        assert mine.metadata()["model_version"] == "v2.2" and mine.metadata()["trained"] == "False"


def test_the_two_bytes_of_bfloat16_are_kept(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors", reason="pip install 'trace-format-harness[safetensors]'")
    pytest.importorskip("ml_dtypes", reason="pip install 'trace-format-harness[safetensors]'")
    bits, layout, path = np.arange(12, dtype=np.uint16).reshape(4, 3), SafetensorsLayout(), tmp_path / "out"
    spec = tensor("outputs/values", (4, 3), "bfloat16")
    trace = StepTrace({spec: bits})
    layout.write(trace, path, trace)
    assert digest_blocks(layout.read(path, spec)) == digest(bits)
    with library.safe_open(path, "numpy") as file:
        assert file.get_slice(spec.path).get_dtype() == "BF16"
    assert "npz has no type bfloat16" in NpzLayout().lacking(StepTrace({spec: bits}).manifest).values()


def test_vizfold_finds_its_fields(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(source), str(tmp_path / "out"), "--layout", "vizfold"]) == 0
    root = zarr.open_group(tmp_path / "out", mode="r")
    fields = ("model_version", "config_version", "sequence", "num_residues", "num_recycles")
    found = [np.asarray(root[f"metadata/{name}"][()]).item() for name in fields]  # as its load_metadata takes them
    assert found == ["v2.2", "model_1", "ACDEFGHIKLM", N, 3]
    assert list(np.asarray(root["metadata/representation_names"])) == ["single", "pair"]
    assert root["metadata"].attrs.asdict() == {"model_name": "none", "source": "made for a test", "trained": False}
    assert root["attention/layer_00"].chunks == (1, N, N)
    assert "does not state" not in capsys.readouterr().out


def test_what_an_archive_does_not_state_is_not_made_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = archive(tmp_path, {"inputs/sequence": np.arange(N, dtype=np.uint8)}, Metadata(num_residues=N))
    assert main(["export", str(path), str(tmp_path / "out"), "--layout", "vizfold"]) == 0
    said = capsys.readouterr().out
    assert "does not state model_version, config_version, sequence, num_recycles, without which" in said
    assert sorted(zarr.open_group(tmp_path / "out", mode="r")["metadata"].array_keys()) == ["num_residues"]


@pytest.mark.parametrize("images", ["inputs/images", "inputs/processed_image"])
def test_images_keep_their_axes(images: str, tmp_path: Path) -> None:
    arrays = {images: values(1, 2, 1, 8, 8), "attention/layer_0": values(2, 2, 4, 9, 9)}
    path = archive(tmp_path, arrays, Metadata())
    assert main(["export", str(path), str(tmp_path / "out"), "--layout", "vizfold"]) == 0
    assert zarr.open_group(tmp_path / "out", mode="r")["attention/layer_00"].shape == (2, 4, 9, 9)


def test_layers_of_other_shapes_are_left_out_for_vizfold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = {
        "attention/layer_0": (1, 2, 3, 9, 9),
        "attention/layer_1": (2, 9, 8),
        "attention/notes": (9,),
        "pair/layer_0": (9, 8, 4),
        "pair/layer_1": (9, 9),
        "single/layer_0": (2, 9, 4),
        "maps": (2, 3, 9, 9),
    }
    with harness.create(tmp_path / "a.h5") as out:
        for name, shape in others.items():
            axes = [f"axis_{k}" for k in range(len(shape))]  # not those of the schema
            out.write(name, np.ones(shape), axes=axes, role="attention" if name == "maps" else "array")
        out.write("singles", np.ones(3), role="array")
        out.write("x/layer_1", np.ones(3), role="array")
        out.write("x/layer_01", np.ones(3), role="array")
        out["attention/layer_2"] = np.ones((2, 9, 9))
    assert main(["export", str(tmp_path / "a.h5"), str(tmp_path / "out"), "--layout", "vizfold"]) == 0
    said = capsys.readouterr().out
    attention = "attention/layer_0, attention/layer_1, attention/notes, maps"
    assert f"VizFold takes attention as (heads, residues, residues): {attention}." in said
    assert "VizFold takes pair representations as (residues, residues, channels): pair/layer_0, pair/layer_1." in said
    assert "VizFold takes single representations as (residues, channels): single/layer_0." in said
    assert "VizFold has one name for it and x/layer_1: x/layer_01." in said
    root = zarr.open_group(tmp_path / "out", mode="r")
    found = sorted(name for name, each in root.members(max_depth=None) if isinstance(each, zarr.Array))
    assert found == ["attention/layer_02", "metadata/num_residues", "singles", "x/layer_01"]


@pytest.mark.parametrize(
    ("layout", "library", "taken", "why"),
    [
        ("npz", by_numpy, "x.npy", "numpy.load finds another tensor under this name"),
        ("safetensors", by_safetensors, "__metadata__", "safetensors has its metadata under this name"),
    ],
)
def test_a_name_that_the_library_takes_for_something_else_is_left_out(
    layout: str, library: Callable[[Path], Arrays], taken: str, why: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if layout == "safetensors":
        pytest.importorskip("safetensors", reason="pip install 'trace-format-harness[safetensors]'")
    arrays = {"x": np.arange(3), taken: np.arange(4), "y.npy": np.arange(5)}
    path = archive(tmp_path, arrays, Metadata(model_name="mine"))
    assert main(["export", str(path), str(tmp_path / "out"), "--layout", layout]) == 0
    assert f"Left out, for {why}: {taken}." in capsys.readouterr().out
    found = library(tmp_path / "out")
    assert found["x"].tolist() == [0, 1, 2] and found["y.npy"].tolist() == [0, 1, 2, 3, 4] and len(found) == 2


@pytest.mark.skipif("vizfold-zarr" not in registry.names("importers"), reason="the importer of VizFold is not there")
def test_what_is_exported_for_vizfold_is_imported_with_the_same_digests(source: Path, tmp_path: Path) -> None:
    assert main(["export", str(source), str(tmp_path / "out.zarr"), "--layout", "vizfold"]) == 0
    trace = open_trace(f"file:{tmp_path / 'out.zarr'}")
    with open_archive(source) as (_, _, manifest):
        expected = {name: digest for name, digest in manifest.digests.items() if name != MAPS}
        assert {spec.path: digest_blocks(trace.blocks(spec.path)) for spec in trace.manifest.tensors} == expected
        assert trace.manifest.metadata.model_version == manifest.metadata.model_version
        assert trace.manifest.metadata.representation_names == manifest.metadata.representation_names
    assert "not stored" not in str(trace.manifest.provenance.note)


def refused(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, *parts: str) -> None:
    before = sorted(folder.iterdir())
    assert main(["export", *arguments]) == code
    said = capsys.readouterr().err
    assert all(part in said for part in parts), said
    assert "Traceback" not in said and len(said.strip().splitlines()) == 1
    assert sorted(folder.iterdir()) == before


def test_what_cannot_be_is_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    refused(tmp_path, capsys, [str(source), out, "--layout", "npy"], 2, "no layout named 'npy'; did you mean 'npz'?")
    refused(tmp_path, capsys, [str(source), str(source), "--layout", "npz"], 2, "exists already")
    refused(tmp_path, capsys, [str(source), str(tmp_path / "a" / "b"), "--layout", "npz"], 2, "does not exist")
    refused(tmp_path, capsys, [str(tmp_path / "none"), out, "--layout", "npz"], 2, "no archive at")
    maps = archive(tmp_path, {MAPS: ARRAYS[MAPS]})
    refused(tmp_path, capsys, [str(maps), out, "--layout", "vizfold"], 2, "can hold nothing of", MAPS, "choose another")


def test_a_type_that_a_layout_has_not_is_listed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(NpzLayout, "dtypes", ("float32",))
    assert main(["export", str(source), str(tmp_path / "out.npz"), "--layout", "npz"]) == 0
    assert "Left out, for npz has no type float16: single/layer_9." in capsys.readouterr().out
    assert set(by_numpy(tmp_path / "out.npz")) == {name for name, each in ARRAYS.items() if each.dtype == np.float32}


def test_a_missing_library_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    arguments = [str(source), str(tmp_path / "out"), "--layout", "safetensors"]
    refused(tmp_path, capsys, arguments, 2, "pip install 'trace-format-harness[safetensors]'")


def _fails(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("layout", "name", "place", "raises", "part"),
    [
        (NpzLayout, "npz", "write_member", _fails, "No space left"),
        (VizFoldLayout, "vizfold", "_describe", _fails, "No space left"),
        (NpzLayout, "npz", "read", lambda *_: iter([np.zeros(3)]), "was read back"),
    ],
)
def test_nothing_is_left_of_what_failed(
    layout: type, name: str, place: str, raises: Callable[..., object], part: str, source: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(layout if hasattr(layout, place) else sys.modules[layout.__module__], place, raises)
    refused(tmp_path, capsys, [str(source), str(tmp_path / "out"), "--layout", name], 1, part)
