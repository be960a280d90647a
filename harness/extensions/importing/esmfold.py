"""The folder that VizFold's ESMFold backend writes: ``meta.json`` and ``trace/`` with one tensor a torch file."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.extensions.importing.source import HEADS, Gathering, ImportedTrace, Importer, SourceError, named
from harness.files import read_bytes
from harness.foreign.files import parse_json
from harness.foreign.torch_files import TensorLeaf, load_tensor
from harness.trace.manifest import Metadata

_KIND = "esmfold-trace"
_META, _INDEX = "meta.json", "trace/index.json"
_NUMBERED = re.compile(r"(\d+)")

Axes = tuple[str, ...]
_SINGLE: Axes = ("residue", "channel")
_PAIR: Axes = ("residue", "residue", "pair_channel")

# Where each file goes, and its axes without the batch of one sequence. Attention and activations are of the language
# model's layers, blocks are the folding trunk's: the first keep a name of their own, for the schema takes
# activations/layer_0/single_repr and single/layer_0 for the same thing.
_PLACES: tuple[tuple[re.Pattern[str], str, Axes], ...] = tuple(
    (re.compile(rf"{pattern}\.pt"), place, axes)
    for pattern, place, axes in (
        (r"trace/attention/layer_(\d+)", "attention/layer_{}", HEADS),
        (r"trace/activations/layer_(\d+)", "activations/layer_{}/hidden_states", _SINGLE),
        (r"trace/activations/recycle_(\d+)_s_s", "recycle/step_{}/single_repr", _SINGLE),
        (r"trace/activations/recycle_(\d+)_s_z", "recycle/step_{}/pair_repr", _PAIR),
        (r"trace/trunk/block_(\d+)_seq", "single/layer_{}", _SINGLE),
        (r"trace/trunk/block_(\d+)_pair", "pair/layer_{}", _PAIR),
        (r"trace/trunk/s_s", "activations/final/single_repr", _SINGLE),
        (r"trace/trunk/s_z", "activations/final/pair_repr", _PAIR),
        (
            r"trace/structure_module/ipa_attention/recycle_(\d+)_block_(\d+)",
            "attention/ipa_step_{}/layer_{}",
            HEADS,
        ),
        (
            r"trace/structure_module/backbone/recycle_(\d+)_positions",
            "recycle/step_{}/backbone_positions",
            ("block", "residue", "atom14", "xyz"),
        ),
        (r"trace/structure_module/backbone/recycle_(\d+)_states", "recycle/step_{}/structure_states", _SINGLE),
        (r"structure/predicted", "structure/atom_positions", ("residue", "atom", "xyz")),
    )
)
_ATOM14 = 14


def _recognises(path: Path) -> bool:
    return path.is_dir() and any((path / "trace").rglob("*.pt"))


def _read(path: Path) -> ImportedTrace:
    if not _recognises(path):
        raise UsageError(f"{path} is no folder of an ESMFold run: it holds no trace/*.pt, such as trace/attention/.")
    gathering = Gathering(path, _KIND)
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    leaves: dict[str, TensorLeaf] = {}
    left = []
    for name in sorted(files, key=_order):
        if name in (_META, _INDEX):
            gathering.file(files[name])
        elif (place := _place(name)) is None:
            left.append(name)
        else:
            gathering.file(files[name])
            leaves[name] = load_tensor(files[name])
            _add(gathering, files[name], leaves[name], *place)
    if _INDEX in files:
        _check_index(files[_INDEX], leaves)
    if any(leaf.widened for leaf in leaves.values()):
        gathering.notes.append("bfloat16 tensors are widened to float32, exactly")
    gathering.leave_out(left, "no tensor of the trace")
    metadata, seed = _facts(gathering, files[_META]) if _META in files else (Metadata(), None)
    return gathering.trace(metadata, seed)


def _order(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERED.split(name)]


def _place(name: str) -> tuple[str, Axes] | None:
    for pattern, place, axes in _PLACES:
        if match := pattern.fullmatch(name):
            return place.format(*(int(number) for number in match.groups())), axes
    return None


def _add(gathering: Gathering, file: Path, leaf: TensorLeaf, place: str, axes: Axes) -> None:
    shape = leaf.shape
    if len(shape) == len(axes) + 1:
        batch = axes.index("residue") if axes[0] == "block" else 0
        if shape[batch] != 1:
            raise SourceError(f"{file} holds a batch of {shape[batch]} sequences; a trace is of one: save them apart.")
        shape = (*shape[:batch], *shape[batch + 1 :])
    if place == "structure/atom_positions" and shape[1:2] == (_ATOM14,):
        place, axes = "structure/atom14_positions", ("residue", "atom14", "xyz")
    gathering.add(place, shape, leaf.dtype, partial(_values, leaf, shape), str(file), axes)


def _values(leaf: TensorLeaf, shape: tuple[int, ...]) -> np.ndarray:
    return leaf.array().reshape(shape)


def _check_index(path: Path, leaves: dict[str, TensorLeaf]) -> None:
    """Compare the tensors with what the index lists; the dtype it states is that before rounding to half."""
    with named(str(path)):
        index = parse_json(read_bytes(path))
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
    with named(str(path)):
        facts = parse_json(read_bytes(path))
    if not isinstance(facts, dict):
        raise SourceError(f"{path} holds no facts of a run; copy it again.")

    def stated(name: str, kind: type) -> Any:
        value = facts.get(name)
        return value if isinstance(value, kind) and not isinstance(value, bool) else None

    others = ("backend", "dtype", "device", "tensor_format", "trace_mode", "repo_commit")
    gathering.notes += [f"{name} {facts[name]}" for name in others if stated(name, str)]
    fasta = stated("input_fasta_hash", str)
    metadata = Metadata(
        model_name=stated("model_name", str),
        num_layers=stated("layer_count", int) or None,  # 0 where no attention was asked for
        num_heads=stated("head_count", int) or None,
        num_residues=stated("sequence_length", int),
        input_description=f"FASTA whose SHA-256 begins with {fasta}" if fasta else None,
        timestamp=stated("date_time", str),
    )
    return metadata, stated("seed", int)


importer = Importer(
    name=_KIND,
    description="output folder of VizFold's ESMFold backend: meta.json and trace/ with torch files",
    recognises=_recognises,
    read=_read,
)
