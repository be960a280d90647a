"""The pickled result of a prediction: AlphaFold2's ``result_*.pkl``, ColabFold's, OpenFold's ``*_output_dict.pkl``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError, UsageError
from harness.extensions.importing.source import Gathering, ImportedTrace, Importer, SourceError, unpadded
from harness.files import WHOLE, open_regular, read_bytes
from harness.foreign import pickles
from harness.trace.manifest import Metadata
from harness.trace.schema import SchemaError, validate_path

_KIND = "prediction-pickle"
_SUFFIXES = (".pkl", ".pickle")
_PROTOCOLS = tuple(bytes((0x80, version)) for version in range(2, 6))  # how a pickle starts, from protocol 2 on
_AF2_NAME = re.compile(r"result_(model_\w+)")

Axes = tuple[str, ...]
_PAIR: Axes = ("residue", "residue", "pair_channel")
_SINGLE: Axes = ("residue", "channel")
_BINS: Axes = ("residue", "residue", "bin")

# Where each item of AlphaFold2 (alphafold/model/model.py and modules.py) and of OpenFold (openfold/model/model.py and
# heads.py) goes, and its axes. Names of the same thing in the two lead to the same place.
_PLACES: dict[tuple[str, ...], tuple[str, Axes]] = {
    ("structure_module", "final_atom_positions"): ("structure/atom_positions", ("residue", "atom", "xyz")),
    ("structure_module", "final_atom_mask"): ("structure/atom_mask", ("residue", "atom")),
    ("final_atom_positions",): ("structure/atom_positions", ("residue", "atom", "xyz")),
    ("final_atom_mask",): ("structure/atom_mask", ("residue", "atom")),
    ("final_affine_tensor",): ("structure/final_frames", ("residue", "frame")),
    ("sm", "positions"): ("structure/trajectory_positions", ("block", "residue", "atom14", "xyz")),
    ("sm", "frames"): ("structure/trajectory_frames", ("block", "residue", "frame")),
    ("ptm",): ("structure/ptm", ()),
    ("ptm_score",): ("structure/ptm", ()),
    ("iptm",): ("outputs/iptm", ()),
    ("iptm_score",): ("outputs/iptm", ()),
    ("plddt",): ("outputs/confidence_scores", ("residue",)),
    ("predicted_aligned_error",): ("outputs/predicted_aligned_error", ("residue", "residue")),
    ("max_predicted_aligned_error",): ("outputs/max_predicted_aligned_error", ()),
    ("aligned_confidence_probs",): ("outputs/aligned_confidence_probs", _BINS),
    ("ranking_confidence",): ("outputs/ranking_confidence", ()),
    ("distogram", "logits"): ("outputs/distogram_logits", _BINS),
    ("distogram", "bin_edges"): ("outputs/distogram_bin_edges", ("bin_edge",)),
    ("distogram_logits",): ("outputs/distogram_logits", _BINS),
    ("masked_msa", "logits"): ("outputs/masked_msa_logits", ("sequence", "residue", "class")),
    ("masked_msa_logits",): ("outputs/masked_msa_logits", ("sequence", "residue", "class")),
    ("experimentally_resolved", "logits"): ("outputs/experimentally_resolved_logits", ("residue", "atom")),
    ("experimentally_resolved_logits",): ("outputs/experimentally_resolved_logits", ("residue", "atom")),
    ("predicted_lddt", "logits"): ("outputs/predicted_lddt_logits", ("residue", "bin")),
    ("lddt_logits",): ("outputs/predicted_lddt_logits", ("residue", "bin")),
    ("tm_logits",): ("outputs/tm_logits", _BINS),
    ("representations", "single"): ("activations/final/single_repr", _SINGLE),
    ("representations", "pair"): ("activations/final/pair_repr", _PAIR),
    ("representations", "msa"): ("activations/final/msa_repr", ("sequence", "residue", "msa_channel")),
    ("representations", "msa_first_row"): ("activations/final/msa_first_row", ("residue", "msa_channel")),
    ("representations", "structure_module"): ("activations/structure_module/single_repr", _SINGLE),
    ("single",): ("activations/final/single_repr", _SINGLE),
    ("pair",): ("activations/final/pair_repr", _PAIR),
    ("msa",): ("activations/final/msa_repr", ("sequence", "residue", "msa_channel")),
    ("sm", "single"): ("activations/structure_module/single_repr", _SINGLE),
}
_RECYCLES = ("num_recycles",)
_CHAINS = ("seqs",)  # AlphaPulldown's: the sequences of the chains


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
    try:
        content = pickles.plain(pickles.load(read_bytes(path, WHOLE)))
    except HarnessError as error:
        raise SourceError(f"{path}: {error}.") from error
    gathering.file(path)  # after it is known to be no longer than can be read
    if not isinstance(content, dict) or not _known(content):
        raise UsageError(
            f"{path} is a pickle, but not of a prediction of AlphaFold2, ColabFold or OpenFold: it holds none of "
            "their outputs, such as plddt."
        )
    recycles: int | None = None
    left: list[str] = []
    unnamed: list[str] = []
    for keys, value in _items(content):
        name = "/".join(keys)
        if keys == _RECYCLES and (number := _count(value)) is not None:
            recycles = number
        elif keys == _CHAINS and (chains := _chains(value)):
            _add_sequence(gathering, chains, f"{path}: {name}")
        elif (array := _array(value)) is None:
            left.append(name)
        elif not _is_path(place := unpadded("/".join(("outputs", *keys)))) and keys not in _PLACES:
            unnamed.append(name)
        else:
            _add(gathering, array, f"{path}: {name}", *_PLACES.get(keys, (place, None)))
    gathering.leave_out(left, "no numbers")
    gathering.leave_out(unnamed, "no name that a tensor may have")
    named = _AF2_NAME.fullmatch(path.stem)
    return gathering.trace(Metadata(model_version=named[1] if named else None, num_recycles=recycles))


def _known(content: dict[Any, Any]) -> bool:
    return any(keys in _PLACES for keys, _ in _items(content))


def _items(content: dict[Any, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    left: list[tuple[tuple[str, ...], Any]] = [((), content)]
    while left:
        keys, value = left.pop()
        if isinstance(value, dict):
            left += [((*keys, str(key)), inside) for key, inside in reversed(value.items())]
        else:
            yield keys, value


def _array(value: Any) -> np.ndarray | None:
    if not isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in "biuf" else None


def _count(value: Any) -> int | None:
    array = _array(value)
    return int(array.reshape(())) if array is not None and array.size == 1 and array.dtype.kind in "iu" else None


def _chains(value: Any) -> list[str]:
    fits = isinstance(value, list) and all(isinstance(chain, str) and chain.isascii() for chain in value)
    return value if fits else []


def _add_sequence(gathering: Gathering, chains: list[str], origin: str) -> None:
    letters = np.frombuffer("".join(chains).encode(), np.uint8)
    gathering.add("inputs/sequence", letters.shape, letters.dtype, lambda: letters, origin)
    gathering.notes.append(f"chains of {', '.join(str(len(chain)) for chain in chains)} residues")


def _is_path(path: str) -> bool:
    try:
        validate_path(path)
    except SchemaError:
        return False
    return True


def _add(gathering: Gathering, array: np.ndarray, origin: str, path: str, axes: Axes | None) -> None:
    if axes == () and array.size == 1:
        array = array.reshape(())  # some writers keep a score in a list
    gathering.add(path, array.shape, array.dtype, lambda: array, origin, axes)


importer = Importer(
    name=_KIND,
    description="result_*.pkl of AlphaFold2 or ColabFold, *_output_dict.pkl of OpenFold: representations and outputs",
    recognises=_recognises,
    read=_read,
)
