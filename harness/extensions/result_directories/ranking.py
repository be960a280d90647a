"""Which prediction of a directory is the best, by the ranking file that its program wrote; ties are all best."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import msgspec

from harness.documents import convert
from harness.errors import HarnessError
from harness.extensions.result_directories.disk import is_plain_file
from harness.files import read_bytes
from harness.foreign.files import parse_json

AF2_FILE = "ranking_debug.json"
AF3_FILE = "ranking_scores.csv"
OPENFOLD3_FILE = "_confidences_aggregated.json"
"""Ends the name of the scores of one sample."""

_SAMPLE = re.compile(r"([^.].*)_seed_\d+_sample_\d+_confidences\.json(?:\.xz|\.slim|\.gz)?")
"""A sample's file, packed or not; what a killed run left of one has a hidden name."""

_AF2_SCORES = ("iptm+ptm", "plddts", "plddt", "ptm")
"""What ranks models, the first there is: "plddts" of monomers, "iptm+ptm" of multimers, and not "iptm" beside it."""

_OPENFOLD3_SCORES = ("sample_ranking_score", "avg_plddt")
"""What ranks samples, the first that all of them have; a run without predicted errors has no ranking score."""


_MEND = "so the best prediction is unknown; nothing was changed"

_Models = dict[str, float] | float | None
_Af2 = TypedDict(
    "_Af2",
    {
        "order": Annotated[list[str], msgspec.Meta(min_length=1)],
        "iptm+ptm": NotRequired[_Models],
        "plddts": NotRequired[_Models],
        "plddt": NotRequired[_Models],
        "ptm": NotRequired[_Models],
    },
)


class _Openfold3(TypedDict):
    sample_ranking_score: NotRequired[float | None]
    avg_plddt: NotRequired[float | None]


class Ranking(NamedTuple):
    """The scores of a directory by model or sample, and those with the highest: all of them when they tie."""

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
    facts: dict[str, Any] = _facts(path, _Af2)
    order = facts["order"]
    scores = next((found for key in _AF2_SCORES if isinstance(found := facts.get(key), dict)), {})
    if order[0] not in scores:
        raise HarnessError(f"{path}: expected a score of {order[0]!r}; {_MEND}.")
    top = scores[order[0]]
    best = [name for name in order if scores.get(name) == top] or order[:1]
    return Ranking(scores, tuple(best))


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
    return Ranking(scores, tuple(best)) if paths else None


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
        facts: dict[str, Any] = _facts(scores, _Openfold3)
        told = {key: facts[key] for key in _OPENFOLD3_SCORES if facts.get(key) is not None}
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
    return Ranking(ranked, tuple(best)) if ranked else None


def _facts(path: Path, kind: Any) -> Any:
    """Read a JSON of another program, in which more may stand, and what is no number too."""
    try:
        return convert(parse_json(read_bytes(path)), kind, path, mend=_MEND, error=HarnessError)
    except HarnessError as error:
        raise error if str(error).startswith(str(path)) else HarnessError(f"{path}: {error}; {_MEND}.") from error


def _damaged(path: Path, error: Exception) -> HarnessError:
    return HarnessError(f"{path} is truncated or damaged ({type(error).__name__}: {error}); {_MEND}.")
