"""Importer of Boltz: errors and confidences of each sample, and the trunk's representations.

Names and contents: https://github.com/jwohlwend/boltz/blob/main/src/boltz/data/write/writer.py.
"""

from __future__ import annotations

from functools import partial

from harness.extensions.importing.file_contents import read_json, read_npz
from harness.extensions.importing.output_files import OutputFile, OutputProgram, places, recognises, structure_file
from harness.extensions.importing.predictions import read_predictions
from harness.foreign.source import Importer

_TABLES = places(
    ("outputs/predicted_aligned_error", "token token", "pae"),
    ("outputs/predicted_distance_error", "token token", "pde"),
    ("outputs/token_plddts", "token", "plddt"),
)
_SCORES = places(
    ("outputs/ptm", "", "ptm"),
    ("outputs/iptm", "", "iptm"),
    ("outputs/confidence_score", "", "confidence_score"),
    ("outputs/chain_ptm", "chain", "chains_ptm"),
    ("outputs/chain_pair_iptm", "chain chain", "pair_chains_iptm"),
)

_PROGRAM = OutputProgram(
    name="boltz",
    title="Boltz",
    files=(
        *(
            OutputFile(
                kind=name,
                pattern=rf"{name}_(?P<job>.+)_model_(?P<sample>\d{{1,9}})\.npz",
                read=read_npz,
                places=_TABLES,
                whole=False,
            )
            for name in ("pae", "pde", "plddt")
        ),
        OutputFile(
            kind="confidence",
            pattern=r"confidence_(?P<job>.+)_model_(?P<sample>\d{1,9})\.json",
            read=read_json,
            places=_SCORES,
            first=frozenset({*_SCORES, "complex_plddt"}),
        ),
        OutputFile(
            kind="affinity",
            pattern=r"affinity_(?P<job>.+)\.json",
            read=read_json,
            places={},
            first=frozenset({"affinity_pred_value", "affinity_probability_binary"}),
        ),
        OutputFile(
            kind="embeddings",
            pattern=r"embeddings_(?P<job>.+)\.npz",
            read=read_npz,
            places=places(
                ("activations/final/single_repr", "token channel", "s"),
                ("activations/final/pair_repr", "token token channel", "z"),
            ),
            whole=False,
            batched=True,
        ),
        structure_file(r"(?P<job>.+)_model_(?P<sample>\d{1,9})\.cif"),
    ),
    others=((r"pre_affinity_.*\.npz", "the input of the affinity's prediction"),),
)

importer = Importer(
    name="boltz",
    description="Boltz: errors and confidences of each sample, representations of the trunk; a file or a job's folder",
    recognises=partial(recognises, _PROGRAM),
    read=partial(read_predictions, _PROGRAM),
)
