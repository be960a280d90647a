"""Importer of OpenFold3: confidences of each sample, and latent outputs of each seed.

Names and contents: openfold3/core/runners/writer.py of openfold3 0.5.0, and the result of ``OpenFold3.forward``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from harness.extensions.importing.file_contents import FileContent, read_json, read_npz, read_torch
from harness.extensions.importing.output_files import OutputFile, OutputProgram, places, recognises, structure_file
from harness.extensions.importing.predictions import read_predictions
from harness.foreign.source import Importer

_SEED = r"(?:seed_\d{1,18}/)?(?P<job>[^/]+)_seed_(?P<seed>\d{1,18})"
_SAMPLE = rf"{_SEED}_sample_(?P<sample>\d{{1,9}})"

_CONFIDENCES = places(
    ("outputs/predicted_aligned_error", "token token", "pae"),
    ("outputs/predicted_distance_error", "token token", "pde"),
    ("outputs/atom_plddts", "atom", "plddt"),
)
_AGGREGATED = places(
    ("outputs/ptm", "", "ptm"),
    ("outputs/iptm", "", "iptm"),
    ("outputs/chain_ptm", "chain", "chain_ptm"),
    ("outputs/chain_pair_iptm", "chain_pair", "chain_pair_iptm"),
    ("outputs/bespoke_iptm", "chain_pair", "bespoke_iptm"),
)
_LATENT = places(
    ("activations/final/single_repr", "token channel", "si_trunk"),
    ("activations/final/pair_repr", "token token channel", "zij_trunk"),
    ("structure/atom_positions_predicted", "sample atom xyz", "atom_positions_predicted"),
    ("outputs/plddt_logits", "sample atom bin", "plddt_logits"),
    ("outputs/experimentally_resolved_logits", "sample atom class", "experimentally_resolved_logits"),
    ("outputs/pae_logits", "sample token token bin", "pae_logits"),
    ("outputs/pde_logits", "sample token token bin", "pde_logits"),
    ("outputs/distogram_logits", "token token bin", "distogram_logits"),
)


def _read_npz(path: Path) -> FileContent:
    content = read_npz(path)
    if content.arrays.pop("allow_pickle", None):
        content.left.append(("an argument to NumPy that was stored among the arrays", "allow_pickle"))
    return content


_PROGRAM = OutputProgram(
    name="openfold3",
    title="OpenFold3",
    files=(
        OutputFile(
            kind="full",
            pattern=rf"{_SAMPLE}_confidences\.json",
            read=read_json,
            places=_CONFIDENCES,
            first=frozenset(_CONFIDENCES),
        ),
        OutputFile(
            kind="full_npz",
            pattern=rf"{_SAMPLE}_confidences\.npz",
            read=_read_npz,
            places=_CONFIDENCES,
            whole=False,
        ),
        OutputFile(
            kind="aggregated",
            pattern=rf"{_SAMPLE}_confidences_aggregated\.json",
            read=read_json,
            places=_AGGREGATED,
        ),
        OutputFile(
            kind="latent",
            pattern=rf"{_SEED}_latent_output\.pt",
            read=read_torch,
            places=_LATENT,
            whole=False,
            batched=True,
        ),
        structure_file(rf"{_SAMPLE}_model\.cif"),
    ),
    folders=r"seed_\d+",
    others=(
        (r".*_batch\.pt", "features of the input"),
        (r"(.*/)?timing\.json", "times"),
    ),
)

importer = Importer(
    name="openfold3",
    description="OpenFold3: confidences of each sample, latent outputs of each seed; one file or a query's folder",
    recognises=partial(recognises, _PROGRAM),
    read=partial(read_predictions, _PROGRAM),
)
