"""Real traces, read from the folder that HARNESS_DATA names and mapped into the schema with nothing invented."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from harness.errors import UsageError
from harness.trace.manifest import Manifest, Metadata, Provenance, validate
from harness.trace.schema import TensorSpec, tensor
from harness.trace.stream import MemoryTrace, Trace, TraceSource, parse_parameters

VARIABLE = "HARNESS_DATA"

_AF2 = "af2_1ubq/1ubq_af2_model_1_ptm.f32.npz"
_OPENFOLD = "openfold_untrained/openfold2_1ubq_untrained_blocks4-7_pass1.npz"
_VIT = "vit_mnist/vit_mnist_attention.npz"


def _missing(relative: str) -> str:
    folder = os.environ.get(VARIABLE)
    if not folder:
        return f"needs real data: set {VARIABLE} to the folder that holds {relative}"
    if not (Path(folder) / relative).is_file():
        return f"needs the file {relative}, which is not in {VARIABLE}={folder}"
    return ""


def _load(relative: str) -> dict[str, np.ndarray]:
    path = Path(os.environ[VARIABLE]) / relative
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} cannot be read as NPZ ({error}); fetch it again.") from error


Mapped = tuple[dict[TensorSpec, np.ndarray], Metadata, Provenance]


def _source(
    name: str, relative: str, mapping: Callable[[Mapping[str, np.ndarray]], Mapped], *, description: str
) -> TraceSource:
    def open_trace(text: str, n_res: int | None) -> Trace:
        parse_parameters(text, (), name)
        if reason := _missing(relative):
            raise UsageError(f"The trace {name!r} {reason}.")
        try:
            arrays, metadata, provenance = mapping(_load(relative))
        except KeyError as error:
            raise UsageError(f"{relative} lacks the array {error}; fetch it again.") from error
        manifest = Manifest(tensors=tuple(arrays), metadata=metadata, provenance=provenance)
        validate(manifest)
        return MemoryTrace(name, manifest, {spec.path: array for spec, array in arrays.items()})

    return TraceSource(name=name, description=description, open=open_trace, missing=lambda: _missing(relative))


def _add(
    arrays: dict[TensorSpec, np.ndarray], path: str, array: np.ndarray, axes: tuple[str, ...] | None = None
) -> None:
    arrays[tensor(path, array.shape, array.dtype, axes=axes)] = array


def _map_af2(data: Mapping[str, np.ndarray]) -> Mapped:
    arrays: dict[TensorSpec, np.ndarray] = {}
    _add(arrays, "single/layer_0", data["single_layer_00"])
    _add(arrays, "pair/layer_0", data["pair_layer_00"])
    _add(arrays, "structure/atom_positions", data["atom_positions"])
    _add(arrays, "structure/atom_mask", data["atom_mask"])
    _add(arrays, "structure/ptm", data["ptm"].reshape(()))  # the schema has a scalar, the file one value in a list
    metadata = Metadata(
        model_name="AlphaFold2",
        model_version="model_1_ptm",
        num_residues=int(data["pair_layer_00"].shape[0]),
        input_description="ubiquitin, 1UBQ",
        representation_names=("single", "pair"),
    )
    note = "single is the first row of the MSA representation, as its source names it"
    return arrays, metadata, Provenance(source=str(data["provenance"]), trained=True, bf16_born=True, note=note)


def _map_openfold(data: Mapping[str, np.ndarray]) -> Mapped:
    arrays: dict[TensorSpec, np.ndarray] = {}
    blocks = sorted({int(name.split("/")[1].removeprefix("block")) for name in data if name.startswith("r1/block")})
    kinds = {
        "msa_row": "msa_row",
        "tri_start_mean": "triangle_start_mean",
        "tri_start_res18": "triangle_start_residue_18",
        "tri_end_mean": "triangle_end_mean",
        "tri_end_res18": "triangle_end_residue_18",
    }
    for block in blocks:
        _add(arrays, f"pair/layer_{block}", data[f"r1/block{block}/z"])
        first_row = data[f"r1/block{block}/m_row0"]
        _add(arrays, f"activations/layer_{block}/msa_first_row", first_row, ("residue", "msa_channel"))
        for key, kind in kinds.items():
            _add(arrays, f"attention/{kind}/layer_{block}", data[f"r1/block{block}/{key}"])
    _add(arrays, "recycle/step_1/single_repr", data["r1/single"])
    _add(arrays, "structure/trajectory_positions", data["r1/sm_positions"], ("block", "residue", "atom14", "xyz"))
    _add(arrays, "structure/trajectory_frames", data["r1/sm_frames"], ("block", "residue", "frame"))
    _add(arrays, "structure/atom_positions", data["out/final_atom_positions"])
    _add(arrays, "structure/atom_mask", data["out/final_atom_mask"])
    _add(arrays, "structure/ptm", data["out/ptm_score"])
    _add(arrays, "outputs/confidence_scores", data["out/plddt"])
    _add(arrays, "outputs/predicted_aligned_error", data["out/predicted_aligned_error"], ("residue", "residue"))
    _add(arrays, "outputs/distogram_logits", data["out/distogram_logits"], ("residue", "residue", "bin"))
    meta = json.loads(str(data["meta_json"]))
    run = "; ".join(f"{key} {meta[key]}" for key in ("config", "blocks", "recycles", "msa", "weights") if key in meta)
    metadata = Metadata(
        model_name="OpenFold",
        model_version="2.2",
        num_layers=len(blocks),
        num_heads=int(data[f"r1/block{blocks[0]}/msa_row"].shape[0]),
        num_residues=int(data["r1/single"].shape[0]),
        input_description="ubiquitin, 1UBQ, with its alignment",
        recycle_info="second pass (step_1)",
        representation_names=("single", "pair", "msa_first_row"),
    )
    note = "UNTRAINED weights: good for shapes, layout and speed, not for compression ratios. " + run
    return (
        arrays,
        metadata,
        Provenance(source="OpenFold 2.2 on 1UBQ", seed=0, trained=False, bf16_born=False, note=note),
    )


def _map_vit(data: Mapping[str, np.ndarray]) -> Mapped:
    arrays: dict[TensorSpec, np.ndarray] = {}
    _add(arrays, "inputs/images", data["images"])
    _add(arrays, "inputs/labels", data["labels"], ("image",))
    layers = sorted(int(name.removeprefix("attn_layer_")) for name in data if name.startswith("attn_layer_"))
    for layer in layers:
        _add(arrays, f"attention/layer_{layer}", data[f"attn_layer_{layer}"])
    _add(arrays, "outputs/predictions", data["preds"], ("image",))
    metadata = Metadata(
        model_name="ViT",
        num_layers=len(layers),
        num_heads=int(data["attn_layer_0"].shape[1]),
        input_description="MNIST test digits",
    )
    return (
        arrays,
        metadata,
        Provenance(source="ViT trained on MNIST", trained=True, bf16_born=False, note="not a protein"),
    )


af2_1ubq = _source("af2-1ubq", _AF2, _map_af2, description="AlphaFold2 result for ubiquitin, one layer, trained")
openfold_1ubq = _source(
    "openfold-1ubq", _OPENFOLD, _map_openfold, description="OpenFold on ubiquitin, four blocks, UNTRAINED weights"
)
vit_mnist = _source("vit-mnist", _VIT, _map_vit, description="vision transformer on MNIST digits, six layers, trained")
