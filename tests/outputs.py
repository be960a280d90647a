"""What other programs write, small and made up, each written as its program does: the sources of imports."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import zarr

from benchmarks.directories import result

N, HEADS, LAYERS = 11, 3, 2


def values(seed: int, *shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def attention(seed: int, heads: int = HEADS, n: int = N) -> np.ndarray:
    raw = np.exp(values(seed, heads, n, n))
    return (raw / raw.sum(-1, keepdims=True)).astype(np.float32)


def attention_text(path: Path, layer: int, maps: np.ndarray, k: int = 20) -> Path:
    """The k largest weights of each head, as VizFold's ``save_attention_topk`` prints them."""
    lines = []
    for head, weights in enumerate(maps):
        lines.append(f"Layer {layer}, Head {head}")
        for flat in np.argsort(weights, axis=None)[::-1][:k]:
            row, column = np.unravel_index(flat, weights.shape)
            lines.append(f"{row} {column} {weights[row, column]:.6f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def attention_folder(folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Text and dense files of two layers, two kinds; returns the maps by their names in the schema."""
    folder.mkdir()
    maps = {}
    for layer in (9, 10):
        for kind, stem, heads in (
            ("msa_row", f"msa_row_attn_layer{layer}", HEADS),
            ("triangle_start_residue_7", f"triangle_start_attn_layer{layer}_residue_idx_7", 2),
            ("triangle_start_mean", f"triangle_start_attn_layer{layer}_residue_idx_avg", 2),
        ):
            maps[f"{kind}/layer_{layer}"] = array = attention(layer + heads, heads)
            attention_text(folder / f"{stem}.txt", layer, array)
            np.savez_compressed(folder / f"{stem}.npz", attn=array)
    return folder, maps


def af2_result(n: int = N) -> dict[str, Any]:
    """A result of AlphaFold2 with representations, and a few things that are no numbers."""
    content = result(n, 1)
    content["representations"] = {
        "single": values(2, n, 7),
        "pair": values(3, n, n, 5),
        "msa": values(4, 6, n, 4),
        "msa_first_row": values(5, n, 4),
        "structure_module": values(6, n, 7),
    }
    return content | {"predicted_lddt": {"logits": values(7, n, 50)}, "comment": "none", "nothing": None}


def openfold_result(n: int = N) -> dict[str, Any]:
    """What OpenFold's ``--save_outputs`` pickles: the model's output as arrays."""
    return {
        "msa": values(1, 4, n, 6),
        "pair": values(2, n, n, 5),
        "single": values(3, n, 7),
        "sm": {"frames": values(4, 8, n, 7), "positions": values(5, 8, n, 14, 3), "angles": values(6, 8, n, 7, 2)},
        "final_atom_positions": values(7, n, 37, 3),
        "final_atom_mask": np.ones((n, 37), np.float32),
        "plddt": values(8, n),
        "distogram_logits": values(9, n, n, 64),
        "tm_logits": values(10, n, n, 64),
        "ptm_score": np.array(0.5, np.float32),
        "predicted_aligned_error": values(11, n, n),
        "num_recycles": np.array(3),
    }


def pickled(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=4))
    return path


_STORAGES = {"<f4": "Float", "<f2": "Half", "<f8": "Double", "<i8": "Long", "<u2": "BFloat16"}


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def torch_pickle(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, count: int, storage: str, key: str = "0"
) -> bytes:
    """The pickle of one tensor, opcode by opcode as ``torch.save`` writes it."""

    def numbers(*several: int) -> bytes:
        return b"(" + b"".join(_number(value) for value in several) + b"t"

    reference = _text("storage") + b"ctorch\n" + storage.encode() + b"\n" + _text(key) + _text("cpu") + _number(count)
    arguments = b"((" + reference + b"tQ" + _number(offset) + numbers(*shape) + numbers(*strides)
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"\x89ccollections\nOrderedDict\n)RtR."


def torch_file(path: Path, array: np.ndarray, data: bytes | None = None) -> Path:
    """A tensor as ``torch.save`` writes it, made without torch; uint16 stands for the bits of bfloat16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    strides = tuple(step // array.itemsize for step in np.ascontiguousarray(array).strides[-array.ndim or 1 :])
    strides = strides[: array.ndim]
    data = data or torch_pickle(array.shape, strides, 0, array.size, f"{_STORAGES[array.dtype.str]}Storage")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{path.stem}/data.pkl", data)
        file.writestr(f"{path.stem}/byteorder", b"little")
        file.writestr(f"{path.stem}/data/0", array.tobytes())
        file.writestr(f"{path.stem}/version", b"3\n")
    return path


def torch_save(path: Path, content: dict[str, Any]) -> Path:
    """A dictionary of tensors and integers as ``torch.save`` writes it, made without torch."""
    parts = [b"\x80\x02}("]
    with zipfile.ZipFile(path, "w") as file:
        for key, (name, value) in enumerate(content.items()):
            parts.append(_text(name))
            if isinstance(value, int):
                parts.append(_number(value))
                continue
            strides = tuple(step // value.itemsize for step in value.strides)
            storage = f"{_STORAGES[value.dtype.str]}Storage"
            parts.append(torch_pickle(value.shape, strides, 0, value.size, storage, str(key))[2:-1])
            file.writestr(f"{path.stem}/data/{key}", value.tobytes())
        file.writestr(f"{path.stem}/data.pkl", b"".join((*parts, b"u.")))
    return path


def esmfold(folder: Path, n: int = N) -> tuple[Path, dict[str, np.ndarray]]:
    """The folder of an ESMFold run; returns the tensors by their names in the schema, without the batch."""
    layers, expected, index = (9, 10), {}, {"attention": {}, "activations": {}}
    for layer in layers:
        expected[f"attention/layer_{layer}"] = maps = attention(layer)
        expected[f"activations/layer_{layer}/hidden_states"] = hidden = values(layer, n, 8)
        for group, array in (("attention", maps), ("activations", hidden)):
            name = f"trace/{group}/layer_{layer:03d}.pt"
            torch_file(folder / name, array[None])
            row = {"path": name, "dtype": "torch.float32", "shape": [1, *array.shape]}
            index[group][f"layer_{layer:03d}"] = row
    for name, place, array in (
        ("trace/activations/recycle_0_s_s", "recycle/step_0/single_repr", values(20, n, 6)),
        ("trace/activations/recycle_0_s_z", "recycle/step_0/pair_repr", values(21, n, n, 4)),
        ("trace/trunk/block_000_seq", "single/layer_0", values(22, n, 6, dtype="float16")),
        ("trace/trunk/block_000_pair", "pair/layer_0", values(23, n, n, 4, dtype="float16")),
        ("trace/trunk/s_s", "activations/final/single_repr", values(20, n, 6)),
        ("trace/trunk/s_z", "activations/final/pair_repr", values(21, n, n, 4)),
    ):
        torch_file(folder / f"{name}.pt", array)
        expected[place] = array
    sm = "trace/structure_module"
    expected["attention/ipa_step_0/layer_7"] = attention(24)
    torch_file(folder / f"{sm}/ipa_attention/recycle_00_block_07.pt", attention(24)[None])
    expected["recycle/step_0/backbone_positions"] = positions = values(25, 8, n, 14, 3)
    torch_file(folder / f"{sm}/backbone/recycle_00_positions.pt", positions[:, None])
    expected["recycle/step_0/structure_states"] = values(26, n, 6)
    torch_file(folder / f"{sm}/backbone/recycle_00_states.pt", values(26, 1, n, 6))
    expected["structure/atom_positions"] = values(27, n, 37, 3)
    torch_file(folder / "structure/predicted.pt", values(27, 1, n, 37, 3))
    (folder / "structure" / "predicted.pdb").write_text("END\n")
    (folder / "trace" / "index.json").write_text(json.dumps(index))
    meta = {"backend": "esmfold", "model_name": "facebook/esmfold_v1", "date_time": "2026-03-01T10:00:00+00:00"}
    meta |= {"sequence_length": n, "layer_count": len(layers), "head_count": HEADS, "input_fasta_hash": "0123abcd"}
    (folder / "meta.json").write_text(json.dumps(meta | {"dtype": "float32", "device": "cpu", "seed": 5}))
    return folder, expected


def prototype_zarr(path: Path, zarr_format: int = 3, n: int = N) -> tuple[Path, dict[str, np.ndarray]]:
    """An archive of VizFold's prototype; returns the tensors by their names in the schema."""
    root = zarr.create_group(path, zarr_format=zarr_format)
    expected = {}
    for layer in (9, 10):
        expected[f"single/layer_{layer}"] = values(layer, n, 7, dtype="float16")
        expected[f"pair/layer_{layer}"] = values(layer, n, n, 5, dtype="float16")
        expected[f"attention/triangle_start/layer_{layer}"] = attention(layer)
    expected["structure/atom_positions"] = values(3, n, 37, 3)
    expected["structure/atom_mask"] = np.ones((n, 37), np.float32)
    for name, array in expected.items():
        group = name.replace("single/", "representations/single/").replace("pair/", "representations/pair/")
        root.create_array(group.replace("layer_9", "layer_09"), data=array)
    root.create_array("structure/ptm", data=np.array([0.5], np.float32))
    expected["structure/ptm"] = np.array(0.5, np.float32)
    for name, value in (("num_residues", n), ("num_recycles", 3)):
        root.create_array(f"metadata/{name}", data=np.array(value, np.int32))
    root.create_array("metadata/residue_index", data=np.arange(1, n + 1))
    expected["inputs/residue_index"] = np.arange(1, n + 1)
    root["metadata"].attrs.update({"model_version": "v2.2", "sequence": "ACDEFGHIKLM"[:n], "mood": "good"})
    expected["inputs/sequence"] = np.frombuffer(b"ACDEFGHIKLM"[:n], np.uint8)
    return path, expected


def seed_tensors(n: int = N) -> dict[str, np.ndarray]:
    """Tensors of the seed's script by their names in the schema."""
    found = {}
    for layer in range(LAYERS):
        found[f"activations/layer_{layer}/single_repr"] = values(layer, n, 7)
        found[f"activations/layer_{layer}/pair_repr"] = values(layer + 10, n, n, 5)
        found[f"attention/layer_{layer}"] = values(layer + 20, HEADS, n, n)
    return found | {"outputs/coordinates": values(30, n, 3), "outputs/confidence_scores": values(31, n)}


def seed_npz(path: Path) -> Path:
    found = seed_tensors()
    flat = {"coords": found["outputs/coordinates"], "conf": found["outputs/confidence_scores"]}
    layers = {}
    for layer in range(LAYERS):
        layers[f"act_{layer}_single"] = found[f"activations/layer_{layer}/single_repr"]
        layers[f"act_{layer}_pair"] = found[f"activations/layer_{layer}/pair_repr"]
        layers[f"attn_{layer}"] = found[f"attention/layer_{layer}"]
    np.savez_compressed(path, **layers, **flat)
    return path


def _seed_names() -> dict[str, np.ndarray]:
    short = {"_repr": "", "coordinates": "coords", "confidence_scores": "conf"}
    names = {}
    for name, array in seed_tensors().items():
        for long, brief in short.items():
            name = name.replace(long, brief)
        names[name] = array
    return names


def seed_hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in _seed_names().items():
            file.create_dataset(name, data=array)
    return path


def seed_zarr(path: Path) -> Path:
    root = zarr.open_group(path, mode="w", zarr_format=2)
    codec = numcodecs.Blosc(cname="zstd", clevel=3)
    for name, array in _seed_names().items():
        edges = {"single": (8, 7), "pair": (8, 8, 5)}.get(name.rpartition("/")[2], (1, 8, 8))
        chunks = edges if len(edges) == array.ndim else array.shape
        root.create_array(name, data=array, chunks=chunks, compressors=codec)
    return path


def npz_of(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Compare bit by bit, dtype and shape included."""
    assert set(found) == set(expected)
    for path, array in expected.items():
        assert (found[path].shape, found[path].dtype) == (array.shape, array.dtype), path
        assert found[path].tobytes() == np.ascontiguousarray(array).tobytes(), path
