"""What AlphaFold3 and its server write of a job: confidences of each sample, embeddings and distogram of each seed.

Names and contents: ``write_outputs`` in https://github.com/google-deepmind/alphafold3/blob/main/run_alphafold.py, and
alphafold3/model/confidence_types.py. Files of earlier versions have no name of the job within the folders of samples.
"""

from __future__ import annotations

from functools import partial

from harness.extensions.importing.file_contents import read_csv, read_json, read_npz
from harness.extensions.importing.output_files import OutputFile, OutputProgram, places, recognises
from harness.extensions.importing.predictions import read_predictions
from harness.foreign.source import Importer

_FOLDER = r"(?:seed-(?P<seed>\d{1,18})_sample-(?P<sample>\d{1,9})/)?"
_NAME = r"(?:(?P<job>[^/]+?)_)??(?:seed-\d+_sample-\d+_)?"
_OF_SEED = r"(?:seed-(?P<seed>\d{1,18})_{0}/)?(?:(?P<job>[^/]+?)_)??(?:seed-\d+_)?{0}\.npz"

_CONFIDENCES = places(
    ("outputs/predicted_aligned_error", "token token", "pae"),
    ("outputs/contact_probs", "token token", "contact_probs"),
    ("outputs/atom_plddts", "atom", "atom_plddts"),
    ("inputs/token_res_ids", "token", "token_res_ids"),
)
_SUMMARY = places(
    ("structure/ptm", "", "ptm"),
    ("outputs/iptm", "", "iptm"),
    ("outputs/ranking_score", "", "ranking_score"),
    ("outputs/fraction_disordered", "", "fraction_disordered"),
    ("outputs/has_clash", "", "has_clash"),
    ("outputs/chain_ptm", "chain", "chain_ptm"),
    ("outputs/chain_iptm", "chain", "chain_iptm"),
    ("outputs/chain_pair_iptm", "chain chain", "chain_pair_iptm"),
    ("outputs/chain_pair_pae_min", "chain chain", "chain_pair_pae_min"),
)
_IN_FULL = frozenset({*_CONFIDENCES, "atom_chain_ids", "token_chain_ids"})

_PROGRAM = OutputProgram(
    name="alphafold3",
    title="AlphaFold3",
    files=(
        OutputFile(
            kind="summary",
            pattern=rf"{_FOLDER}{_NAME}summary_confidences\.json",
            read=read_json,
            places=_SUMMARY,
            first=frozenset(_SUMMARY),
        ),
        OutputFile(
            kind="full",
            pattern=rf"(?!.*_sample_\d+_confidences){_FOLDER}{_NAME}confidences\.json",
            read=read_json,
            places=_CONFIDENCES,
            first=_IN_FULL,
        ),
        OutputFile(
            kind="server_summary",
            pattern=r"(?P<job>.+)_summary_confidences_(?P<sample>\d{1,9})\.json",
            read=read_json,
            places=_SUMMARY,
            first=frozenset(_SUMMARY),
        ),
        OutputFile(
            kind="server_full",
            pattern=r"(?P<job>.+)_full_data_(?P<sample>\d{1,9})\.json",
            read=read_json,
            places=_CONFIDENCES,
            first=_IN_FULL,
        ),
        OutputFile(
            kind="embeddings",
            pattern=_OF_SEED.replace("{0}", "embeddings"),
            read=read_npz,
            places=places(
                ("activations/final/single_repr", "token channel", "single_embeddings"),
                ("activations/final/pair_repr", "token token channel", "pair_embeddings"),
            ),
            whole=False,
        ),
        OutputFile(
            kind="distogram",
            pattern=_OF_SEED.replace("{0}", "distogram"),
            read=read_npz,
            places=places(("outputs/distogram", "token token bin", "distogram")),
            whole=False,
        ),
        OutputFile(
            kind="ranking",
            pattern=r"(?:(?P<job>.+)_)?ranking_scores\.csv",
            read=read_csv,
            places=places(
                ("outputs/ranking/seed", "sample", "seed"),
                ("outputs/ranking/sample", "sample", "sample"),
                ("outputs/ranking/ranking_score", "sample", "ranking_score"),
            ),
        ),
    ),
    folders=r"seed-\d+_(?:sample-\d+|embeddings|distogram)",
    others=((r".*(_data|_job_request)\.json(\.\w+)?", "the input of the job, as text"),),
)

importer = Importer(
    name="alphafold3",
    description="AlphaFold3 and its server: confidences, embeddings, distograms, ranking; a file or a job's folder",
    recognises=partial(recognises, _PROGRAM),
    read=partial(read_predictions, _PROGRAM),
)
