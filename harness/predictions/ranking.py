"""Which prediction of a directory is the best, by the ranking file that its program wrote; ties are all best."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.files import read_bytes
from harness.predictions.disk import is_plain_file

AF2_FILE = "ranking_debug.json"
AF3_FILE = "ranking_scores.csv"
OPENFOLD3_FILE = "_confidences_aggregated.json"
"""Ends the name of the scores of one sample."""

_SAMPLE = re.compile(r"([^.].*)_seed_\d+_sample_\d+_confidences\.json(?:\.xz|\.slim|\.gz)?")
"""A sample's file, packed or not; what a killed run left of one has a hidden name."""

_OPENFOLD3_SCORES = ("sample_ranking_score", "avg_plddt")
"""What ranks samples, the first that all of them have; a run without predicted errors has no ranking score."""


@dataclass(frozen=True)
class Ranking:
    """The scores of a directory.

    Attributes
    ----------
    file : str
        Where they stand.
    scores : dict
        Score by model (AF2) or by sample folder (AF3).
    best : tuple of str
        Those with the highest score, all of them when they tie.
    """

    file: str
    scores: dict[str, float]
    best: tuple[str, ...]


def read_af2(folder: Path) -> Ranking | None:
    """Read the ranking of AF2.

    Parameters
    ----------
    folder : Path
        The result directory.

    Returns
    -------
    Ranking or None
        None when there is no ranking file.

    Raises
    ------
    HarnessError
        When the file is damaged.
    """
    path = folder / AF2_FILE
    if not is_plain_file(path):
        return None
    try:
        facts = json.loads(read_bytes(path))
        order = [str(name) for name in facts["order"]]
        # "plddts" for monomers, "iptm+ptm" for multimers; "iptm" beside it does not rank.
        scored = next(facts[key] for key in ("iptm+ptm", "plddts", "plddt", "ptm") if isinstance(facts.get(key), dict))
        scores = {str(name): float(score) for name, score in scored.items()}
        top = scores[order[0]]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration, RecursionError) as error:
        raise _damaged(path, error) from error
    best = [name for name in order if scores.get(name) == top] or order[:1]
    return Ranking(AF2_FILE, scores, tuple(best))


def read_af3(folder: Path) -> Ranking | None:
    """Read the ranking of AF3; its parameters, results and errors are those of `read_af2`.

    Where there are several files, as of two jobs with one directory, the best of each are best.
    """
    paths = [path for path in sorted(folder.glob(f"*{AF3_FILE}")) if is_plain_file(path)]
    scores: dict[str, float] = {}
    best: list[str] = []
    for path in paths:
        found = _scores(path)
        finite = [score for score in found.values() if not math.isnan(score)]
        best += [name for name, score in found.items() if finite and score == max(finite) and name not in best]
        scores |= found
    return Ranking(paths[0].name, scores, tuple(best)) if paths else None


def _scores(path: Path) -> dict[str, float]:
    try:
        rows = csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig")))
        if lost := {"seed", "sample", "ranking_score"} - set(rows.fieldnames or ()):
            raise ValueError(f"it has no column {min(lost)}")
        return {f"seed-{int(row['seed'])}_sample-{int(row['sample'])}": float(row["ranking_score"]) for row in rows}
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise _damaged(path, error) from error


def read_openfold3(folder: Path) -> Ranking | None:
    """Read the scores of OpenFold3's samples; its parameters and errors are those of `read_af2`.

    Returns
    -------
    Ranking or None
        With the best of each query; None when a sample has no scores, so that none is known to be the best.
    """
    queries: dict[str, dict[str, dict[str, float]]] = {}
    for path in sorted(folder.glob("*_confidences.json*")):
        if (found := _SAMPLE.fullmatch(path.name)) is None:
            continue
        name = path.name.partition("_confidences.json")[0]
        scores = folder / f"{name}{OPENFOLD3_FILE}"
        if not is_plain_file(scores):
            return None
        try:
            facts = json.loads(read_bytes(scores))
            told = {key: float(facts[key]) for key in _OPENFOLD3_SCORES if facts.get(key) is not None}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _damaged(scores, error) from error
        queries.setdefault(found.group(1), {})[name] = told
    ranked: dict[str, float] = {}
    best: list[str] = []
    for samples in queries.values():
        key = next((key for key in _OPENFOLD3_SCORES if all(key in told for told in samples.values())), None)
        if key is None:
            return None
        scored = {name: told[key] for name, told in samples.items()}
        best += [name for name, score in scored.items() if score == max(scored.values())]
        ranked |= scored
    return Ranking(f"*{OPENFOLD3_FILE}", ranked, tuple(best)) if ranked else None


def _damaged(path: Path, error: Exception) -> HarnessError:
    return HarnessError(
        f"{path} is truncated or damaged ({type(error).__name__}: {error}), so the best prediction is unknown; "
        "nothing was changed."
    )
