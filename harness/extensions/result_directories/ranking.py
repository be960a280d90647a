"""Best predictions of a directory by the ranking that its program wrote; all of those that tie.

Each function takes the directory. It returns no name without a ranking, and raises `HarnessError` if it is damaged.
"""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from harness.documents import convert, parse_json
from harness.errors import HarnessError
from harness.extensions.result_directories.disk import is_plain_file
from harness.files import read_bytes

AF2_RANKING, AF3_RANKING = "ranking_debug.json", "ranking_scores.csv"
OPENFOLD3_SCORES = "_confidences_aggregated.json"
"""End of the name of one sample's scores."""

_OPENFOLD3_SAMPLE = re.compile(r"([^.].*)_seed_\d+_sample_\d+_confidences\.json(?:\.xz|\.slim|\.gz)?")
"""Name of a sample's file, packed or not; incomplete files of a killed run have hidden names, which do not match."""

_MEND = "so the best prediction is unknown; nothing was changed"

T = TypeVar("T")


def _facts(path: Path, kind: type[T]) -> T:
    """Parse a JSON file of another program, which may hold further fields, and NaN or infinities."""
    try:
        return convert(parse_json(read_bytes(path)), kind, path, mend=_MEND, error=HarnessError)
    except HarnessError as error:
        raise error if str(error).startswith(str(path)) else HarnessError(f"{path}: {error}; {_MEND}.") from error


_Models = dict[str, float] | float | None


class _Af2Ranking(msgspec.Struct):
    """Models by rank, and their scores: the first kind that exists, "plddts" for monomers, "iptm+ptm" for multimers."""

    order: Annotated[list[str], msgspec.Meta(min_length=1)]
    iptm_and_ptm: _Models = msgspec.field(default=None, name="iptm+ptm")
    plddts: _Models = None
    plddt: _Models = None
    ptm: _Models = None


def rank_af2(folder: Path) -> tuple[str, ...]:
    """Return AF2's best models."""
    path = folder / AF2_RANKING
    if not is_plain_file(path):
        return ()
    facts = _facts(path, _Af2Ranking)
    order, kinds = facts.order, (facts.iptm_and_ptm, facts.plddts, facts.plddt, facts.ptm)
    scores = next((found for found in kinds if isinstance(found, dict)), {})
    if order[0] not in scores:
        raise HarnessError(f"{path}: expected a score of {order[0]!r}; {_MEND}.")
    return tuple(name for name in order if scores.get(name) == scores[order[0]]) or (order[0],)


def rank_af3(folder: Path) -> tuple[str, ...]:
    """Return AF3's best samples; with several rankings, as for two jobs in one directory, the best of each."""
    best: list[str] = []
    for path in sorted(folder.glob(f"*{AF3_RANKING}")):
        scores = _af3_scores(path) if is_plain_file(path) else {}
        finite = [score for score in scores.values() if not math.isnan(score)]
        best += [name for name, score in scores.items() if finite and score == max(finite) and name not in best]
    return tuple(best)


def _af3_scores(path: Path) -> dict[str, float]:
    try:
        rows = csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig")))
        if lost := {"seed", "sample", "ranking_score"} - set(rows.fieldnames or ()):
            raise ValueError(f"it has no column {min(lost)}")
        return {f"seed-{int(row['seed'])}_sample-{int(row['sample'])}": float(row["ranking_score"]) for row in rows}
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise HarnessError(f"{path} is truncated or damaged ({type(error).__name__}: {error}); {_MEND}.") from error


class _Openfold3Scores(msgspec.Struct):
    """Scores of a sample; the first that all samples have ranks them. Runs without predicted errors lack the first."""

    sample_ranking_score: float | None = None
    avg_plddt: float | None = None


def rank_openfold3(folder: Path) -> tuple[str, ...]:
    """Return the best samples of each query; none if a sample lacks scores, because the best is then unknown."""
    queries: dict[str, dict[str, _Openfold3Scores]] = {}
    for path in sorted(folder.glob("*_confidences.json*")):
        if (found := _OPENFOLD3_SAMPLE.fullmatch(path.name)) is None:
            continue
        name = path.name.partition("_confidences.json")[0]
        if not is_plain_file(place := folder / f"{name}{OPENFOLD3_SCORES}"):
            return ()
        queries.setdefault(found.group(1), {})[name] = _facts(place, _Openfold3Scores)
    best: list[str] = []
    for samples in queries.values():
        for key in _Openfold3Scores.__struct_fields__:
            scores = {name: getattr(told, key) for name, told in samples.items()}
            if None not in scores.values():
                best += [name for name, score in scores.items() if score == max(scores.values())]
                break
        else:
            return ()
    return tuple(best)
