"""The pickled result of a prediction: AlphaFold2's ``result_*.pkl``, ColabFold's, OpenFold's ``*_output_dict.pkl``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.foreign.source import (
    ForeignArray,
    Gathering,
    ImportedTrace,
    Importer,
    SourceError,
    readable,
    unpadded,
)
from harness.files import WHOLE, open_regular, read_bytes
from harness.foreign import pickles
from harness.trace.manifest import Metadata
from harness.trace.schema import SchemaError, validate_path

_KIND = "prediction-pickle"
_SUFFIXES = (".pkl", ".pickle")
_PROTOCOLS = tuple(bytes((0x80, version)) for version in range(2, 6))  # how a pickle starts, from protocol 2 on
_AF2_NAME = re.compile(r"result_(model_\w+)")

# Where items of AlphaFold2 (alphafold/model/model.py and modules.py) and of OpenFold (openfold/model/model.py and
# heads.py) go, and their axes. Names of the same thing in the two lead to the same place.
_TABLE = (
    ("structure/atom_positions", "residue atom xyz", "structure_module/final_atom_positions final_atom_positions"),
    ("structure/atom_mask", "residue atom", "structure_module/final_atom_mask final_atom_mask"),
    ("structure/final_frames", "residue frame", "final_affine_tensor"),
    ("structure/trajectory_positions", "block residue atom14 xyz", "sm/positions"),
    ("structure/trajectory_frames", "block residue frame", "sm/frames"),
    ("structure/ptm", "", "ptm ptm_score"),
    ("outputs/iptm", "", "iptm iptm_score"),
    ("outputs/confidence_scores", "residue", "plddt"),
    ("outputs/predicted_aligned_error", "residue residue", "predicted_aligned_error"),
    ("outputs/max_predicted_aligned_error", "", "max_predicted_aligned_error"),
    ("outputs/aligned_confidence_probs", "residue residue bin", "aligned_confidence_probs"),
    ("outputs/ranking_confidence", "", "ranking_confidence"),
    ("outputs/distogram_logits", "residue residue bin", "distogram/logits distogram_logits"),
    ("outputs/distogram_bin_edges", "bin_edge", "distogram/bin_edges"),
    ("outputs/masked_msa_logits", "sequence residue class", "masked_msa/logits masked_msa_logits"),
    (
        "outputs/experimentally_resolved_logits",
        "residue atom",
        "experimentally_resolved/logits experimentally_resolved_logits",
    ),
    ("outputs/predicted_lddt_logits", "residue bin", "predicted_lddt/logits lddt_logits"),
    ("outputs/tm_logits", "residue residue bin", "tm_logits"),
    ("activations/final/single_repr", "residue channel", "representations/single single"),
    ("activations/final/pair_repr", "residue residue pair_channel", "representations/pair pair"),
    ("activations/final/msa_repr", "sequence residue msa_channel", "representations/msa msa"),
    ("activations/final/msa_first_row", "residue msa_channel", "representations/msa_first_row"),
    ("activations/structure_module/single_repr", "residue channel", "representations/structure_module sm/single"),
)
_PLACES = {name: (place, axes.split()) for place, axes, names in _TABLE for name in names.split()}


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return bool(_pickles_in(path))
    if path.suffix in _SUFFIXES:
        return True
    with open_regular(path) as handle:
        return handle.read(2) in _PROTOCOLS


def _pickles_in(folder: Path) -> list[Path]:
    patterns = ("result_*.pkl", "*_output_dict.pkl")
    return sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())


def _read(path: Path) -> ImportedTrace:
    if path.is_dir():
        found = _pickles_in(path)
        if len(found) != 1:
            names = ", ".join(each.name for each in found) or "none"
            raise UsageError(
                f"{path} holds {len(found)} pickled results ({names}), a trace is of one; name the file to import."
            )
        path = found[0]
    gathering = Gathering(path, _KIND)
    items: dict[str, Any] = {}
    with readable(path):
        for name, value in _items(pickles.plain(pickles.load(read_bytes(path, WHOLE)))):
            if name in items:  # as the keys a, b and a/b have, or 1 and "1"
                raise SourceError(f"{path} holds two items named {name!r}; rename or remove one of the two.")
            items[name] = value
    gathering.file(path)  # after it is known to be no longer than can be read
    if not items.keys() & _PLACES.keys():
        raise UsageError(
            f"{path} is a pickle, but not of a prediction of AlphaFold2, ColabFold or OpenFold: it holds none of "
            "their outputs, such as plddt."
        )
    recycles = _count(items.get("num_recycles"))
    if recycles is not None:
        del items["num_recycles"]
    chains = items.get("seqs")  # AlphaPulldown's: the sequences of the chains
    if isinstance(chains, list) and chains and all(isinstance(chain, str) and chain.isascii() for chain in chains):
        del items["seqs"]
        gathering.add_letters("".join(chains), f"{path}: seqs")
        gathering.notes.append(f"chains of {', '.join(str(len(chain)) for chain in chains)} residues")
    left, unnamed = [], []
    for name, value in items.items():
        place, axes = _PLACES.get(name, (unpadded(f"outputs/{name}"), None))
        if (array := _array(value)) is None:
            left.append(name)
        elif not _is_path(place):
            unnamed.append(name)
        else:
            # Some writers keep a score in a list.
            array = array.reshape(()) if axes == [] and array.size == 1 else array
            gathering.add(place, ForeignArray.of(array), f"{path}: {name}", axes)
    gathering.leave_out(left, "no numbers")
    gathering.leave_out(unnamed, "no name that a tensor may have")
    named = _AF2_NAME.fullmatch(path.stem)
    return gathering.trace(Metadata(model_version=named[1] if named else None, num_recycles=recycles))


def _items(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield what nested dictionaries hold, each with the keys that lead to it; nothing of anything else."""
    left: list[tuple[tuple[str, ...], Any]] = [((), content)] if isinstance(content, dict) else []
    while left:
        keys, value = left.pop()
        if isinstance(value, dict):
            left += [((*keys, str(key)), inside) for key, inside in reversed(value.items())]
        else:
            yield "/".join(keys), value


def _array(value: Any) -> np.ndarray | None:
    if not isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in "biuf" else None


def _count(value: Any) -> int | None:
    array = _array(value)
    return int(array.reshape(())) if array is not None and array.size == 1 and array.dtype.kind in "iu" else None


def _is_path(path: str) -> bool:
    try:
        validate_path(path)
    except SchemaError:
        return False
    return True


importer = Importer(
    name=_KIND,
    description="result_*.pkl of AlphaFold2 or ColabFold, *_output_dict.pkl of OpenFold: representations and outputs",
    recognises=_recognises,
    read=_read,
)
