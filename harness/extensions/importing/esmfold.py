"""Importer of folders of VizFold's ESMFold backend: ``meta.json``, and ``trace/`` with one tensor per torch file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.documents import parse_json
from harness.errors import UsageError
from harness.files import read_bytes
from harness.foreign.containers import natural
from harness.foreign.source import ForeignArray, Gathering, ImportedTrace, Importer, SourceError, readable
from harness.foreign.torch_files import TensorLeaf, load_tensor
from harness.trace.manifest import Metadata

_KIND = "esmfold-trace"
_META, _INDEX = "meta.json", "trace/index.json"
_SM = "trace/structure_module"
_ATOM14 = "residue atom14 xyz"

# Place of each file, and its axes without the batch axis of one sequence. Attention and activations belong to the
# language model's layers, blocks to the folding trunk. The activations keep a separate name, because the schema treats
# activations/layer_0/single_repr and single/layer_0 as the same tensor.
_PLACES = (
    (r"trace/attention/layer_(\d+)", "attention/layer_{}", "head residue residue"),
    (r"trace/activations/layer_(\d+)", "activations/layer_{}/hidden_states", "residue channel"),
    (r"trace/activations/recycle_(\d+)_s_s", "recycle/step_{}/single_repr", "residue channel"),
    (r"trace/activations/recycle_(\d+)_s_z", "recycle/step_{}/pair_repr", "residue residue pair_channel"),
    (r"trace/trunk/block_(\d+)_seq", "single/layer_{}", "residue channel"),
    (r"trace/trunk/block_(\d+)_pair", "pair/layer_{}", "residue residue pair_channel"),
    (r"trace/trunk/s_s", "activations/final/single_repr", "residue channel"),
    (r"trace/trunk/s_z", "activations/final/pair_repr", "residue residue pair_channel"),
    (_SM + r"/ipa_attention/recycle_(\d+)_block_(\d+)", "attention/ipa_step_{}/layer_{}", "head residue residue"),
    (_SM + r"/backbone/recycle_(\d+)_positions", "recycle/step_{}/backbone_positions", f"block {_ATOM14}"),
    (_SM + r"/backbone/recycle_(\d+)_states", "recycle/step_{}/structure_states", "residue channel"),
    (r"structure/predicted", "structure/atom_positions", "residue atom xyz"),
)

# Facts of meta.json by the schema's names (`_FACTS`), and others that become notes (`_NOTED`).
_FACTS = {
    "model_name": ("model_name", str),
    "num_layers": ("layer_count", int),
    "num_heads": ("head_count", int),
    "num_residues": ("sequence_length", int),
    "timestamp": ("date_time", str),
}
_NOTED = ("backend", "dtype", "device", "tensor_format", "trace_mode", "repo_commit")


def _recognises(path: Path) -> bool:
    tensors = _tensors(path)
    return bool(tensors) and all(map(_place, tensors)) and any((path / name).is_file() for name in (_META, _INDEX))


def _tensors(path: Path) -> list[str]:
    """Return the names of the torch files in ``trace``, which can be tensors of a run."""
    return [file.relative_to(path).as_posix() for file in (path / "trace").rglob("*.pt")] if path.is_dir() else []


def _read(path: Path) -> ImportedTrace:
    if not _tensors(path):
        raise UsageError(f"{path} is not a folder of an ESMFold run: it holds no trace/*.pt, such as trace/attention/.")
    gathering = Gathering(path, _KIND)
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    leaves: dict[str, TensorLeaf] = {}
    left = []
    for name in sorted(files, key=natural):
        place = _place(name)
        if place is None and name not in (_META, _INDEX):
            left.append(name)
            continue
        gathering.file(files[name])
        if place is not None:
            leaves[name] = load_tensor(files[name])
            _add(gathering, str(files[name]), leaves[name], *place)
    if _INDEX in files:
        _check_index(files[_INDEX], leaves)
    gathering.leave_out(left, "no tensor of the trace")
    metadata, seed = _facts(gathering, files[_META]) if _META in files else (Metadata(), None)
    return gathering.trace(metadata, seed)


def _place(name: str) -> tuple[str, str] | None:
    for pattern, place, axes in _PLACES:
        if match := re.fullmatch(rf"{pattern}\.pt", name):
            return place.format(*map(int, match.groups())), axes
    return None


def _add(gathering: Gathering, origin: str, leaf: TensorLeaf, place: str, names: str) -> None:
    shape, axes = leaf.shape, names.split()
    if len(shape) == len(axes) + 1:
        batch = 1 if axes[0] == "block" else 0
        if shape[batch] != 1:
            raise SourceError(
                f"{origin} holds a batch of {shape[batch]} sequences; a trace is of one: save them apart."
            )
        shape = (*shape[:batch], *shape[batch + 1 :])
    if place == "structure/atom_positions" and shape[1:2] == (14,):
        place, axes = "structure/atom14_positions", _ATOM14.split()
    gathering.add(place, ForeignArray(shape, leaf.dtype, lambda: leaf.array().reshape(shape)), origin, axes)


def _check_index(path: Path, leaves: dict[str, TensorLeaf]) -> None:
    """Compare names and shapes with the index; its dtype is not compared, as it is that before rounding to half."""
    index = _json(path)
    groups = index.values() if isinstance(index, dict) else []
    rows = [row for group in groups if isinstance(group, dict) for row in group.values() if isinstance(row, dict)]
    for row in rows:
        name = row.get("path")
        if not isinstance(name, str) or _place(name) is None:
            continue
        if name not in leaves:
            raise SourceError(f"{path} lists {name}, which is not there; copy the whole folder.")
        if row.get("shape") not in (None, list(leaves[name].shape)):
            raise SourceError(f"{path} states shape {row['shape']} of {name}, which has {list(leaves[name].shape)}.")


def _facts(gathering: Gathering, path: Path) -> tuple[Metadata, int | None]:
    facts = _json(path)
    if not isinstance(facts, dict):
        raise SourceError(f"{path} has no metadata of a run; copy it again.")

    def stated(name: str, kind: type) -> Any:
        value = facts.get(name)
        return value if isinstance(value, kind) and not isinstance(value, bool) else None

    gathering.notes += [f"{name} {facts[name]}" for name in _NOTED if stated(name, str)]
    known: dict[str, Any] = {
        field: stated(*fact) or None for field, fact in _FACTS.items()
    }  # a count of 0 means that nothing was stored
    fasta = stated("input_fasta_hash", str)
    known["input_description"] = f"FASTA whose SHA-256 begins with {fasta}" if fasta else None
    return Metadata(**known), stated("seed", int)


def _json(path: Path) -> Any:
    with readable(path):
        return parse_json(read_bytes(path))


importer = Importer(
    name=_KIND,
    description="output folder of VizFold's ESMFold backend: meta.json and trace/ with torch files",
    recognises=_recognises,
    read=_read,
)
