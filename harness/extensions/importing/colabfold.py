"""Importer of ColabFold: scores and errors as JSON, representations as NPY, complete results as pickles.

Names and contents: ``predict_structure`` in https://github.com/sokrypton/ColabFold/blob/main/colabfold/batch.py. It
pads the shorter queries of a batch, and removes the padding from the scores only.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from harness.documents import parse_json
from harness.extensions.importing.file_contents import read_json, read_npy
from harness.extensions.importing.output_files import OutputFile, OutputProgram, places, recognises
from harness.extensions.importing.pickled_results import PICKLED, read_pickle
from harness.extensions.importing.predictions import read_predictions
from harness.files import read_bytes
from harness.foreign.source import Gathering, Importer, readable

_RANK = r"rank_(?P<rank>\d{1,9})_[^/.]*"
_CONFIG = "config.json"

_SCORES = PICKLED | places(
    ("outputs/predicted_aligned_error", "residue residue", "pae"),
    ("outputs/max_predicted_aligned_error", "", "max_pae"),
    ("outputs/per_chain_ptm", "chain", "per_chain_ptm"),
    ("outputs/pairwise_iptm", "chain_pair", "pairwise_iptm"),
    ("outputs/pairwise_actifptm", "chain_pair", "pairwise_actifptm"),
    ("outputs/actifptm", "", "actifptm"),
)


def _facts(gathering: Gathering) -> dict[str, Any]:
    """Return the run's settings for which the schema has a field."""
    path = gathering.path / _CONFIG
    if not path.is_file():
        return {}
    with readable(path):
        found = parse_json(read_bytes(path))
    gathering.file(path)
    if not isinstance(found, dict):
        return {}
    if isinstance(found.get("version"), str):
        gathering.notes.append(f"ColabFold {found['version']}")
    facts = {"model_name": (found.get("model_type"), str), "num_recycles": (found.get("num_recycles"), int)}
    return {name: value for name, (value, kind) in facts.items() if type(value) is kind}


_PROGRAM = OutputProgram(
    name="colabfold",
    title="ColabFold",
    files=(
        # The pickle comes first: the JSON has the same numbers rounded.
        OutputFile(kind="all", pattern=rf"(?P<job>.+)_all_{_RANK}\.pickle", read=read_pickle, places=PICKLED),
        *(
            OutputFile(
                kind=f"{name}_npy",
                pattern=rf"(?P<job>.+)_{name}_{_RANK}\.npy",
                read=partial(read_npy, f"representations/{name.removesuffix('_repr')}"),
                places=PICKLED,
                whole=False,
            )
            for name in ("single_repr", "pair_repr")
        ),
        OutputFile(
            kind="scores",
            pattern=rf"(?P<job>.+)_scores_{_RANK}\.json",
            read=read_json,
            places=_SCORES,
            first=frozenset(_SCORES),
            counts="plddt",
        ),
        OutputFile(
            kind="best",
            pattern=r"(?P<job>.+)_predicted_aligned_error_v1\.json",
            read=read_json,
            places=_SCORES,
            first=frozenset(_SCORES),
            counts="predicted_aligned_error",
        ),
    ),
    others=((r"config\.json", ""), (r".*\.r\d+\.pickle", "results of earlier recycles")),
    facts=_facts,
)


def _recognises(path: Path) -> bool:
    # The importer of pickles reads a single pickle.
    return recognises(_PROGRAM, path) and (path.is_dir() or ".pickle" not in path.suffixes)


importer = Importer(
    name="colabfold",
    description="ColabFold: scores and errors as JSON, representations as NPY, pickles of results; one or a folder",
    recognises=_recognises,
    read=partial(read_predictions, _PROGRAM),
)
