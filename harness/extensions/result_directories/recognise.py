"""Recognise a result directory by what its files say, and list those that slimming may touch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.extensions.result_directories import container, ranking
from harness.extensions.result_directories.disk import is_plain_file, is_safe_name, read_bytes
from harness.extensions.result_directories.manifest import Entry, Kind, Plain
from harness.extensions.result_directories.outcome import Reader
from harness.foreign import pickles
from harness.foreign.files import parse_json

_SAMPLE = re.compile(r"seed-\d+_sample-\d+")
_OPENFOLD3 = re.compile(r".+_seed_\d+_sample_\d+_confidences\.json")

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


_READ_AS_XZ: dict[Kind, re.Pattern[str]] = {
    "af2": re.compile(r"result_[^/]*\.pkl"),
    "af3": re.compile(rf"{_SAMPLE.pattern}/[^/]*confidences\.json"),
}
"""The files that tools are known to read with ``.xz`` after their name as well: AlphaPulldown and AlphaJudge do."""


def reader_of(kind: Kind, name: str, entry: Entry) -> Reader:
    """Say what can read a file of a slimmed directory."""
    known = _READ_AS_XZ.get(kind)
    as_xz = entry.survives_in.endswith(container.XZ) and known is not None and known.fullmatch(name) is not None
    if entry.fate == "kept" or (entry.fate == "packed" and as_xz):
        return "tools"
    return "harness" if entry.arrays else "unslim"


def is_result(content: Any) -> bool:
    """Say whether a pickle is an AF2 result."""
    return isinstance(content, dict) and "plddt" in content and ("structure_module" in content or len(content) > 1)


def _is_features(content: Any) -> bool:
    return isinstance(content, dict) and "aatype" in content and ("msa" in content or "residue_index" in content)


def is_pae(content: Any) -> bool:
    """Say whether a JSON is AF2's table of predicted aligned errors, of either of its two layouts."""
    first = content[0] if isinstance(content, list) and content else content
    return isinstance(first, dict) and ("predicted_aligned_error" in first or {"residue1", "distance"} <= set(first))


def is_confidences(content: Any) -> bool:
    """Say whether a JSON is a table of confidences of AF3."""
    return isinstance(content, dict) and "pae" in content and bool({"atom_plddts", "token_chain_ids"} & set(content))


def is_openfold3(content: Any) -> bool:
    """Say whether a JSON is a table of confidences of OpenFold3."""
    return isinstance(content, dict) and "plddt" in content and bool({"pde", "pae"} & set(content))


def _is_input(content: Any) -> bool:
    return isinstance(content, dict) and "sequences" in content and "modelSeeds" in content


def parse(path: Path) -> Any:
    """Read a pickle or a JSON as slimming reads it.

    Raises
    ------
    HarnessError
        When it cannot be read, is truncated, damaged, or a pickle that would run code.
    """
    data = read_bytes(path)
    return pickles.load(data) if path.suffix == ".pkl" else parse_json(data)


def recognise(folder: Path, plain: Plain, known: str = "") -> Recognised:
    """Find out what made a directory.

    Parameters
    ----------
    folder : Path
        The directory.
    plain : {"best", "none"}
        Whether what tools read has to stay readable by them.
    known : str, optional
        Its kind, when a manifest says it: what it was recognised by may be slimmed by now.

    Returns
    -------
    Recognised
        Its kind, best predictions and items.

    Raises
    ------
    UsageError
        When it is neither of AF2 nor of AF3.
    HarnessError
        When its ranking file is damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no directory {folder}.")
    why: list[str] = []
    for kind, shows, listed in (
        ("af2", _shows_af2, _af2),
        ("af3", _shows_af3, _af3),
        ("openfold3", _shows_openfold3, _openfold3),
    ):
        if known == kind or (not known and shows(folder, why)):
            return listed(folder, plain)
    hint = f" ({'; '.join(why[:1])})" if why else ""
    raise UsageError(
        f"{folder} is neither a result directory of AlphaFold2 nor of AlphaFold3 or OpenFold3: it holds no ranking, "
        f"result or confidences that one of them wrote{hint}; name the directory of one job."
    )


def _files(folder: Path, pattern: str) -> Iterator[str]:
    for path in sorted(folder.glob(pattern)):
        name = path.relative_to(folder).as_posix()
        if is_plain_file(path) and not path.name.startswith(".") and is_safe_name(name):
            yield name


def _holds(folder: Path, pattern: str, test: Test, why: list[str]) -> bool:
    for name in _files(folder, pattern):
        try:
            if test(parse(folder / name)):
                return True
        except HarnessError as error:
            why.append(f"{name}: {error}")
    return False


def _shows_af2(folder: Path, why: list[str]) -> bool:
    try:
        if ranking.read_af2(folder) is not None:
            return True
    except HarnessError:
        if any(_files(folder, "result_*.pkl")) or any(_files(folder, "pae_*.json")):
            raise
    return _holds(folder, "pae_*.json", is_pae, why) or _holds(folder, "result_*.pkl", is_result, why)


def _af2(folder: Path, plain: Plain) -> Recognised:
    ranked = ranking.read_af2(folder)
    best = ranked.best if ranked else ()
    items = [Item(name, is_result) for name in _files(folder, "result_*.pkl")]
    items += [Item(name, _is_features) for name in _files(folder, "features.pkl")]
    for name in _files(folder, "pae_*.json"):
        items.append(Item(name, is_pae, "tools read it as it is, and no other form of it" if plain == "best" else ""))
    stays = [ranking.AF2_FILE, "ranked_*", "relaxed_*", "unrelaxed_*", "confidence_*.json", "timings.json"]
    return Recognised("af2", best, tuple(items), _listed(folder, stays))


def _kept(name: str, best: tuple[str, ...], plain: Plain) -> str:
    if plain != "best":
        return ""
    if not best:
        return "no ranking says which prediction is the best, so what tools read of any stays as it is"
    return f"tools read the best prediction as it is{' (tied)' if len(best) > 1 else ''}" if name in best else ""


def _listed(folder: Path, patterns: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for pattern in patterns for name in _files(folder, pattern)))


def sample_folders(folder: Path) -> list[str]:
    """List the sample folders of an AF3 directory; a link is not followed."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if _SAMPLE.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    )


def _shows_af3(folder: Path, why: list[str]) -> bool:
    ranked = None
    samples = sample_folders(folder)
    try:
        ranked = ranking.read_af3(folder)
    except HarnessError:
        if samples:
            raise
    if ranked is not None and ranked.scores:
        return True
    inside = [f"{sample}/*confidences.json" for sample in samples]
    # Summary scores are small and tell enough.
    summary: Test = lambda content: isinstance(content, dict) and "ranking_score" in content  # noqa: E731
    either: Test = lambda content: summary(content) or is_confidences(content)  # noqa: E731
    return any(_holds(folder, pattern, either, why) for pattern in (*inside, "*_confidences.json"))


def _af3(folder: Path, plain: Plain) -> Recognised:
    ranked = ranking.read_af3(folder)
    best = ranked.best if ranked else ()
    items, stays = [], [f"*{ranking.AF3_FILE}", "*_model.cif", "*_summary_confidences.json"]
    for sample in sample_folders(folder):
        for name in _files(folder, f"{sample}/*confidences.json"):
            if not name.endswith("summary_confidences.json"):
                items.append(Item(name, is_confidences, _kept(sample, best, plain)))
        stays += [f"{sample}/*model.cif", f"{sample}/*summary_confidences.json"]
    # Kept ones first: a copy is best found again in a file that is there as it was.
    items.sort(key=lambda item: (not item.keep, item.path))
    for name in _files(folder, "*_confidences.json"):
        if not name.endswith("summary_confidences.json"):
            items.append(Item(name, is_confidences, is_top=True))
    items += [Item(name, _is_input) for name in _files(folder, "*_data.json")]
    return Recognised("af3", best, tuple(items), _listed(folder, stays))


def _shows_openfold3(folder: Path, why: list[str]) -> bool:
    return any(
        _OPENFOLD3.fullmatch(name) and _holds(folder, name, is_openfold3, why)
        for name in _files(folder, "*_confidences.json")
    )


def _openfold3(folder: Path, plain: Plain) -> Recognised:
    ranked = ranking.read_openfold3(folder)
    best = ranked.best if ranked else ()
    names = [name for name in _files(folder, "*_confidences.json") if _OPENFOLD3.fullmatch(name)]
    items = [Item(name, is_openfold3, _kept(name.removesuffix("_confidences.json"), best, plain)) for name in names]
    stays = ["*_model.cif", "*_model.pdb", f"*{ranking.OPENFOLD3_FILE}"]
    return Recognised("openfold3", best, tuple(items), _listed(folder, stays))
