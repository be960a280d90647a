"""Importer of AlphaFold3 and its server: confidences of each sample, embeddings and distogram of each seed.

Names and contents: ``write_outputs`` in https://github.com/google-deepmind/alphafold3/blob/main/run_alphafold.py, and
alphafold3/model/confidence_types.py. In earlier versions, files in the sample folders have no job name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from harness.extensions.importing.file_contents import FileContent, read_csv, read_json, read_npz
from harness.extensions.importing.output_files import (
    OutputFile,
    OutputProgram,
    TokenNames,
    places,
    recognises,
    structure_file,
)
from harness.extensions.importing.predictions import read_predictions
from harness.foreign.source import Importer, SourceError

_FOLDER = r"(?:seed-(?P<seed>\d{1,18})_sample-(?P<sample>\d{1,9})/)?"
_NAME = r"(?:(?P<job>[^/]+?)_)??(?:seed-\d+_sample-\d+_)?"
_OF_SEED = r"(?:seed-(?P<seed>\d{1,18})_{0}/)?(?:(?P<job>[^/]+?)_)??(?:seed-\d+_)?{0}\.npz"

_CONFIDENCES = places(
    ("outputs/predicted_aligned_error", "token token", "pae"),
    ("outputs/contact_probs", "token token", "contact_probs"),
    ("outputs/atom_plddts", "atom", "atom_plddts"),
    ("inputs/tokens/residue_index", "token", "token_res_ids"),
)
_SUMMARY = places(
    ("outputs/ptm", "", "ptm"),
    ("outputs/iptm", "", "iptm"),
    ("outputs/ranking_score", "", "ranking_score"),
    ("outputs/fraction_disordered", "", "fraction_disordered"),
    ("outputs/has_clash", "", "has_clash"),
    ("outputs/chain_ptm", "chain", "chain_ptm"),
    ("outputs/chain_iptm", "chain", "chain_iptm"),
    ("outputs/chain_pair_iptm", "chain chain", "chain_pair_iptm"),
    ("outputs/chain_pair_pae_min", "chain chain", "chain_pair_pae_min"),
)
_TOKEN_CHAINS, _TOKEN_RESIDUES, _ATOM_CHAINS, _TOKENS = "token_chain_ids", "token_res_ids", "atom_chain_ids", "tokens"
_IN_FULL = frozenset({*_CONFIDENCES, _ATOM_CHAINS, _TOKEN_CHAINS})


def _read_confidences(path: Path) -> FileContent:
    """Read the numbers as arrays; tokens and chains of atoms become facts, which are the same for every sample."""
    content = read_json(path, texts=(_TOKEN_CHAINS, _ATOM_CHAINS))
    chains, residues = content.facts.pop(_TOKEN_CHAINS, None), content.arrays.get(_TOKEN_RESIDUES)
    if chains is not None and residues is not None and len(residues.shape) == 1:
        if residues.shape != (len(chains),):
            raise SourceError(
                f"{path}: {_TOKEN_CHAINS} is of {len(chains)} tokens, {_TOKEN_RESIDUES} of {residues.shape[0]}."
            )
        content.facts[_TOKENS] = tuple(zip(chains, map(str, residues.load().tolist()), strict=True))
        del content.arrays[_TOKEN_RESIDUES]
    return content


_UNPLACED = "the input of the job, which stays in its file"
_INPUT = places(("inputs/model_seeds", "seed", "modelSeeds"), ("inputs/version", "", "version"))


def _read_input(path: Path) -> FileContent:
    """Read the numbers of a job's input that have a place; chains, modifications and bonds stay in the file."""
    content = read_json(path)
    content.left = [(why if name in _INPUT else _UNPLACED, name) for why, name in content.left]
    content.left += [(_UNPLACED, name) for name in content.arrays.keys() - _INPUT.keys()]
    content.arrays = {name: array for name, array in content.arrays.items() if name in _INPUT}
    content.notes.clear()
    return content


def _tokens(facts: Mapping[str, set[Any]]) -> Iterator[TokenNames]:
    tokens, structures = facts.get(_TOKENS, set()), facts.get("structure", set())
    yield from tokens
    if len(tokens) > 1 or len(structures) > 1:  # samples of different complexes: an error for every program
        return
    for structure, chains in product(structures, facts.get(_ATOM_CHAINS, ())):
        if chains != tuple(atom.chain for atom in structure.atoms):
            raise SourceError(f"{_ATOM_CHAINS} names other chains of atoms than the structure has.")


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
            read=_read_confidences,
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
            read=_read_confidences,
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
            first=frozenset({"seed"}),
        ),
        structure_file(rf"{_FOLDER}{_NAME}model\.cif"),
        structure_file(r"(?P<job>.+)_model_(?P<sample>\d{1,9})\.cif"),
        OutputFile(
            kind="input",
            pattern=r"(?P<job>.+)_data\.json",
            read=_read_input,
            places=_INPUT,
            first=frozenset({"dialect", "name"}),
            group="inputs",
            tells=False,
        ),
    ),
    tokens=_tokens,
    folders=r"seed-\d+_(?:sample-\d+|embeddings|distogram)",
    others=((r".*_job_request\.json(\.\w+)?", "the input of the job, as text"),),
)

importer = Importer(
    name="alphafold3",
    description="AlphaFold3 and its server: confidences, structures, embeddings, distograms; a file or a job's folder",
    recognises=partial(recognises, _PROGRAM),
    read=partial(read_predictions, _PROGRAM),
)
