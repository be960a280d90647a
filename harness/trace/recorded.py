"""Real traces, read from the folder that HARNESS_DATA names and mapped to the schema without invented values."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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
_ANTIBERTY = "antiberty/trastuzumab_vh_antiberty_0.1.3.npz"


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
Rows = Iterable[Sequence[str]]
"""Path, name in the file, and the axes where the schema does not define them."""


def _source(
    name: str, relative: str, mapping: Callable[[Mapping[str, np.ndarray]], Mapped], *, description: str
) -> TraceSource:
    def open_trace(text: str, n_res: int | None) -> Trace:
        parse_parameters(text, {}, name)
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


def _arrays(data: Mapping[str, np.ndarray], rows: Rows) -> dict[TensorSpec, np.ndarray]:
    found = {}
    for path, name, *axes in rows:
        # The schema defines a scalar, but a file may have a list of one value.
        array = data[name].reshape(()) if path == "structure/ptm" else data[name]
        found[tensor(path, array.shape, array.dtype, axes=axes[0].split() if axes else None)] = array
    return found


def _map_af2(data: Mapping[str, np.ndarray]) -> Mapped:
    rows = [("single/layer_0", "single_layer_00"), ("pair/layer_0", "pair_layer_00")]
    rows += [(f"structure/{name}", name) for name in ("atom_positions", "atom_mask", "ptm")]
    metadata = Metadata(
        model_name="AlphaFold2",
        model_version="model_1_ptm",
        num_residues=int(data["pair_layer_00"].shape[0]),
        input_description="ubiquitin, 1UBQ",
        representation_names=("single", "pair"),
    )
    note = "single is the first row of the MSA representation, as its source names it"
    origin = Provenance(source=str(data["provenance"]), trained=True, bf16_born=True, note=note)
    return _arrays(data, rows), metadata, origin


_OPENFOLD_BLOCK = (
    ("pair/layer_{}", "z"),
    ("activations/layer_{}/msa_first_row", "m_row0", "residue msa_channel"),
    ("attention/msa_row/layer_{}", "msa_row"),
    ("attention/triangle_start_mean/layer_{}", "tri_start_mean"),
    ("attention/triangle_start_residue_18/layer_{}", "tri_start_res18"),
    ("attention/triangle_end_mean/layer_{}", "tri_end_mean"),
    ("attention/triangle_end_residue_18/layer_{}", "tri_end_res18"),
)
_OPENFOLD_ONCE = (
    ("recycle/step_1/single_repr", "r1/single"),
    ("structure/trajectory_positions", "r1/sm_positions", "block residue atom14 xyz"),
    ("structure/trajectory_frames", "r1/sm_frames", "block residue frame"),
    ("structure/atom_positions", "out/final_atom_positions"),
    ("structure/atom_mask", "out/final_atom_mask"),
    ("structure/ptm", "out/ptm_score"),
    ("outputs/confidence_scores", "out/plddt"),
    ("outputs/predicted_aligned_error", "out/predicted_aligned_error", "residue residue"),
    ("outputs/distogram_logits", "out/distogram_logits", "residue residue bin"),
)


def _map_openfold(data: Mapping[str, np.ndarray]) -> Mapped:
    blocks = sorted({int(name.split("/")[1].removeprefix("block")) for name in data if name.startswith("r1/block")})
    rows = [
        (path.format(block), f"r1/block{block}/{name}", *axes)
        for block in blocks
        for path, name, *axes in _OPENFOLD_BLOCK
    ]
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
    origin = Provenance(source="OpenFold 2.2 on 1UBQ", seed=0, trained=False, bf16_born=False, note=note)
    return _arrays(data, [*rows, *_OPENFOLD_ONCE]), metadata, origin


def _map_vit(data: Mapping[str, np.ndarray]) -> Mapped:
    layers = sorted(int(name.removeprefix("attn_layer_")) for name in data if name.startswith("attn_layer_"))
    maps = [(f"attention/layer_{layer}", f"attn_layer_{layer}") for layer in layers]
    inputs = [("inputs/images", "images"), ("inputs/labels", "labels", "image")]
    rows = [*inputs, *maps, ("outputs/predictions", "preds", "image")]
    metadata = Metadata(
        model_name="ViT",
        num_layers=len(layers),
        num_heads=int(data["attn_layer_0"].shape[1]),
        input_description="MNIST test digits",
    )
    origin = Provenance(source="ViT trained on MNIST", trained=True, bf16_born=False, note="not a protein")
    return _arrays(data, rows), metadata, origin


def _map_antiberty(data: Mapping[str, np.ndarray]) -> Mapped:
    layers = range(sum(name.startswith("attention_layer_") for name in data))
    # The first hidden state is the input of the first layer.
    rows: list[Sequence[str]] = [
        ("inputs/sequence", "sequence"),
        ("activations/embedding/hidden_states", "hidden_state_0", "token channel"),
    ]
    for layer in layers:
        rows += [
            (f"attention/layer_{layer}", f"attention_layer_{layer}", "head token token"),
            (f"activations/layer_{layer}/hidden_states", f"hidden_state_{layer + 1}", "token channel"),
        ]
    metadata = Metadata(
        model_name="AntiBERTy",
        model_version="0.1.3",
        num_layers=len(layers),
        num_heads=int(data["attention_layer_0"].shape[0]),
        hidden_dim=int(data["hidden_state_0"].shape[1]),
        num_residues=int(data["sequence"].shape[0]),
        input_description="trastuzumab, variable domain of the heavy chain",
        representation_names=("hidden_states",),
    )
    note = "a language model of antibodies; tokens are [CLS], the residues in order, [SEP]"
    origin = Provenance(source="AntiBERTy 0.1.3 (PyPI), its own weights", trained=True, bf16_born=False, note=note)
    return _arrays(data, rows), metadata, origin


af2_1ubq = _source("af2-1ubq", _AF2, _map_af2, description="AlphaFold2 result for ubiquitin, one layer, trained")
openfold_1ubq = _source(
    "openfold-1ubq", _OPENFOLD, _map_openfold, description="OpenFold on ubiquitin, four blocks, UNTRAINED weights"
)
vit_mnist = _source("vit-mnist", _VIT, _map_vit, description="vision transformer on MNIST digits, six layers, trained")
antiberty = _source(
    "antiberty", _ANTIBERTY, _map_antiberty, description="AntiBERTy on an antibody, eight layers, trained, float32"
)
