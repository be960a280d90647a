"""The programs whose result directories are known: how one is recognised, what ranks it, what slimming may touch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.extensions.result_directories.disk import is_plain_file, is_safe_name, read_bytes
from harness.extensions.result_directories.manifest import Kind, Plain
from harness.extensions.result_directories.ranking import (
    AF2_RANKING,
    AF3_RANKING,
    OPENFOLD3_SAMPLE,
    OPENFOLD3_SCORES,
    rank_af2,
    rank_af3,
    rank_openfold3,
)
from harness.foreign import pickles
from harness.foreign.files import parse_json

_AF3_SAMPLE = re.compile(r"seed-\d+_sample-\d+")

READ_AS_XZ: dict[Kind, re.Pattern[str]] = {
    "af2": re.compile(r"result_[^/]*\.pkl"),
    "af3": re.compile(rf"{_AF3_SAMPLE.pattern}/[^/]*confidences\.json"),
}
"""The files that tools are known to read with ``.xz`` after their name as well: AlphaPulldown and AlphaJudge do."""

Test = Callable[[Any], bool]


@dataclass(frozen=True)
class Item:
    """A file that slimming may touch, if it is what its name says.

    Attributes
    ----------
    path : str
        Relative to the directory.
    is_ours : callable
        Tells from the content, read, whether the program made it; a file that only has such a name is foreign.
    keep : str
        Why it stays as it is; empty when it need not.
    is_top : bool
        Whether it is the job's own copy of a sample's file.
    """

    path: str
    is_ours: Test
    keep: str = ""
    is_top: bool = False


@dataclass(frozen=True)
class Recognised:
    """A result directory.

    Attributes
    ----------
    kind : {"af2", "af3", "openfold3"}
        What made it.
    best : tuple of str
        Its best predictions; empty when it does not say.
    items : tuple of Item
        In the order in which they are worked on.
    stays : tuple of str
        Its structures, rankings and summary scores, which stay as they are in every mode.
    """

    kind: Kind
    best: tuple[str, ...]
    items: tuple[Item, ...]
    stays: tuple[str, ...]


def recognise(folder: Path, plain: Plain = "best", known: str = "") -> Recognised:
    """Find out what made a directory.

    Parameters
    ----------
    folder : Path
        The directory.
    plain : {"best", "none"}
        Whether what tools read has to stay readable by them.
    known : str, optional
        Its kind, when a manifest says it: what it was recognised by may be slimmed by now.

    Raises
    ------
    UsageError
        When none of the known programs made it.
    HarnessError
        When its ranking file is damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no directory {folder}.")
    why: list[str] = []
    for kind, (shows, rank, listed) in _PROGRAMS.items():
        if known == kind or (not known and shows(folder, why)):
            best = rank(folder)
            items, stays = listed(folder, best, plain)
            names = dict.fromkeys(name for pattern in stays for name in _files(folder, pattern))
            return Recognised(kind, best, tuple(items), tuple(names))
    hint = f" ({'; '.join(why[:1])})" if why else ""
    raise UsageError(
        f"{folder} is neither a result directory of AlphaFold2 nor of AlphaFold3 or OpenFold3: it holds no ranking, "
        f"result or confidences that one of them wrote{hint}; name the directory of one job."
    )


def parse(name: str, data: bytes) -> Any:
    """Read a pickle or a JSON as slimming reads it; a `HarnessError` when it is damaged or would run code."""
    return pickles.load(data) if name.endswith(".pkl") else parse_json(data)


def _files(folder: Path, pattern: str) -> Iterator[str]:
    for path in sorted(folder.glob(pattern)):
        name = path.relative_to(folder).as_posix()
        if is_plain_file(path) and not path.name.startswith(".") and is_safe_name(name):
            yield name


def _has(*needed: str, any_of: tuple[str, ...] = ()) -> Test:
    """Return a test for a dictionary that has some keys, and one of some others."""

    def test(content: Any) -> bool:
        found = content.keys() if isinstance(content, dict) else set()
        return set(needed) <= found and (not any_of or not found.isdisjoint(any_of))

    return test


_is_features = _has("aatype", any_of=("msa", "residue_index"))
_is_confidences = _has("pae", any_of=("atom_plddts", "token_chain_ids"))
_is_summary = _has("ranking_score")
_is_openfold3 = _has("plddt", any_of=("pde", "pae"))
_is_input = _has("sequences", "modelSeeds")


def _is_result(content: Any) -> bool:
    return isinstance(content, dict) and "plddt" in content and len(content) > 1


def _is_pae(content: Any) -> bool:
    """Know AF2's table of predicted aligned errors, in either of its two layouts."""
    first = content[0] if isinstance(content, list) and content else content
    return _has("predicted_aligned_error")(first) or _has("residue1", "distance")(first)


def _holds(folder: Path, pattern: str, test: Test, why: list[str]) -> bool:
    for name in _files(folder, pattern):
        try:
            if test(parse(name, read_bytes(folder / name))):
                return True
        except HarnessError as error:
            why.append(f"{name}: {error}")
    return False


def _ranks(rank: Callable[[Path], tuple[str, ...]], folder: Path, named: bool) -> bool:
    """Say whether a ranking shows its program; a damaged one does where other files have the program's names."""
    try:
        return bool(rank(folder))
    except HarnessError:
        if named:
            raise
        return False


def _kept(name: str, best: tuple[str, ...], plain: Plain) -> str:
    if plain != "best":
        return ""
    if not best:
        return "no ranking says which prediction is the best, so what tools read of any stays as it is"
    return f"tools read the best prediction as it is{' (tied)' if len(best) > 1 else ''}" if name in best else ""


def _shows_af2(folder: Path, why: list[str]) -> bool:
    named = any(_files(folder, "result_*.pkl")) or any(_files(folder, "pae_*.json"))
    return _ranks(rank_af2, folder, named) or (
        _holds(folder, "pae_*.json", _is_pae, why) or _holds(folder, "result_*.pkl", _is_result, why)
    )


def _af2(folder: Path, best: tuple[str, ...], plain: Plain) -> tuple[list[Item], list[str]]:
    items = [Item(name, _is_result) for name in _files(folder, "result_*.pkl")]
    items += [Item(name, _is_features) for name in _files(folder, "features.pkl")]
    keep = "tools read it as it is, and no other form of it" if plain == "best" else ""
    items += [Item(name, _is_pae, keep) for name in _files(folder, "pae_*.json")]
    return items, [AF2_RANKING, "ranked_*", "relaxed_*", "unrelaxed_*", "confidence_*.json", "timings.json"]


def _af3_samples(folder: Path) -> list[str]:
    folders = (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return sorted(path.name for path in folders if _AF3_SAMPLE.fullmatch(path.name))


def _shows_af3(folder: Path, why: list[str]) -> bool:
    samples = _af3_samples(folder)
    # Summary scores are small and tell enough.
    either: Test = lambda content: _is_summary(content) or _is_confidences(content)  # noqa: E731
    patterns = (*(f"{sample}/*confidences.json" for sample in samples), "*_confidences.json")
    return _ranks(rank_af3, folder, bool(samples)) or any(_holds(folder, name, either, why) for name in patterns)


def _af3(folder: Path, best: tuple[str, ...], plain: Plain) -> tuple[list[Item], list[str]]:
    items, stays = [], [f"*{AF3_RANKING}", "*_model.cif", "*_summary_confidences.json"]
    for sample in _af3_samples(folder):
        for name in _files(folder, f"{sample}/*confidences.json"):
            if not name.endswith("summary_confidences.json"):
                items.append(Item(name, _is_confidences, _kept(sample, best, plain)))
        stays += [f"{sample}/*model.cif", f"{sample}/*summary_confidences.json"]
    # Kept ones first: a copy is best found again in a file that is there as it was.
    items.sort(key=lambda item: (not item.keep, item.path))
    for name in _files(folder, "*_confidences.json"):
        if not name.endswith("summary_confidences.json"):
            items.append(Item(name, _is_confidences, is_top=True))
    return [*items, *(Item(name, _is_input) for name in _files(folder, "*_data.json"))], stays


def _openfold3_samples(folder: Path) -> list[str]:
    return [name for name in _files(folder, "*_confidences.json") if OPENFOLD3_SAMPLE.fullmatch(name)]


def _shows_openfold3(folder: Path, why: list[str]) -> bool:
    return any(_holds(folder, name, _is_openfold3, why) for name in _openfold3_samples(folder))


def _openfold3(folder: Path, best: tuple[str, ...], plain: Plain) -> tuple[list[Item], list[str]]:
    names = _openfold3_samples(folder)
    items = [Item(name, _is_openfold3, _kept(name.removesuffix("_confidences.json"), best, plain)) for name in names]
    return items, ["*_model.cif", "*_model.pdb", f"*{OPENFOLD3_SCORES}"]


_PROGRAMS: dict[Kind, Any] = {
    "af2": (_shows_af2, rank_af2, _af2),
    "af3": (_shows_af3, rank_af3, _af3),
    "openfold3": (_shows_openfold3, rank_openfold3, _openfold3),
}
"""For each program what knows its directories, names the best predictions, and lists what it touches and leaves."""
