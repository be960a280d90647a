"""Importer of pickled results: AlphaFold2's ``result_*.pkl``, ColabFold's, OpenFold's ``*_output_dict.pkl``."""

from __future__ import annotations

from pathlib import Path

from harness.extensions.importing.file_contents import read_json
from harness.extensions.importing.output_files import OutputFile, OutputProgram, is_container, places, recognises
from harness.extensions.importing.pickled_results import PICKLED, read_pickle
from harness.extensions.importing.predictions import read_predictions
from harness.files import open_regular
from harness.foreign.packed import plain_file_name
from harness.foreign.source import ImportedTrace, Importer

_SUFFIXES = (".pkl", ".pickle")
_PROTOCOLS = tuple(bytes((0x80, version)) for version in range(2, 6))  # first bytes of a pickle, from protocol 2 on

_ANY = OutputFile(kind="pickle", pattern=r"(?!)", read=read_pickle, places=PICKLED)
_PROGRAM = OutputProgram(
    name="prediction-pickle",
    title="AlphaFold2, ColabFold or OpenFold",
    files=(
        OutputFile(kind="result", pattern=r"result_(?P<model>model_.+)\.pkl", read=read_pickle, places=PICKLED),
        OutputFile(kind="result", pattern=r"(?P<job>.+)_output_dict\.pkl", read=read_pickle, places=PICKLED),
        # The same numbers with fewer digits: AlphaFold2 writes them next to its results, and AlphaPulldown keeps them.
        OutputFile(
            kind="pae_json",
            pattern=r"pae_(?P<model>model_\w+)\.json",
            read=read_json,
            first=frozenset({"predicted_aligned_error"}),
            places=PICKLED,
        ),
        OutputFile(
            kind="confidence_json",
            pattern=r"confidence_(?P<model>model_\w+)\.json",
            read=read_json,
            first=frozenset({"residueNumber", "confidenceScore"}),
            places=places(
                ("inputs/residue_number", "residue", "residueNumber"),
                ("outputs/confidence_scores", "residue", "confidenceScore"),
            ),
        ),
    ),
    others=(
        (r"features\.pkl.*", "features of the input"),
        (r"(ranking_debug|timings|relax_metrics).*\.json", "scores and times by names of models"),
    ),
)


def _recognises(path: Path) -> bool:
    if recognises(_PROGRAM, path):
        return True
    if path.is_dir() or is_container(path):
        return False
    if plain_file_name(path.name).endswith(_SUFFIXES):
        return True
    with open_regular(path) as handle:
        return handle.read(2) in _PROTOCOLS


def _read(path: Path) -> ImportedTrace:
    return read_predictions(_PROGRAM, path, _ANY)


importer = Importer(
    name="prediction-pickle",
    description="pickled results of AlphaFold2, ColabFold and OpenFold, also packed; folders of AlphaFold2's",
    recognises=_recognises,
    read=_read,
)
