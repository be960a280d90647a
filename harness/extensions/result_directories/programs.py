"""Programs with known result directories: their recognition, their rankings, and the files that slimming may touch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness.documents import parse_json
from harness.errors import HarnessError, UsageError
from harness.extensions.result_directories.disk import is_plain_file, is_safe_name, read_bytes
from harness.extensions.result_directories.manifest import Kind, Plain
from harness.extensions.result_directories.ranking import (
    AF2_RANKING,
    AF3_RANKING,
    OPENFOLD3_SCORES,
    rank_af2,
    rank_af3,
    rank_openfold3,
)
from harness.foreign import pickles

Test = Callable[[Any], bool]


class ProgramRule(NamedTuple):
    """Files of a program that slimming may touch, by name and by content, and which of them stay unchanged.

    These are ``"all"``, because tools read them in no other form; those of the ``"best"`` predictions, which the first
    group of the name identifies; or, for ``"top"``, the job's own copy of a prediction at the top of the directory, if
    no prediction has the same bytes.
    """

    name: str
    is_ours: Test
    stays: Literal["none", "all", "best", "top"] = "none"


class Item(NamedTuple):
    """A file that slimming may touch if its content is the program's, and the reason why it stays, or an empty text."""

    path: str
    rule: ProgramRule
    keep: str


@dataclass(frozen=True)
class Recognised:
    """A result directory."""

    kind: Kind  # Its program: "af2", "af3", "openfold3".
    best: tuple[str, ...]  # Its best predictions; empty if it does not state them.
    items: tuple[Item, ...]  # In processing order.
    stays: tuple[str, ...]  # Its structures, rankings and summary scores, which stay unchanged in every mode.


def recognise(folder: Path, plain: Plain = "best", known: str = "") -> Recognised:
    """Recognise the program that wrote a directory.

    Parameters
    ----------
    folder : Path
        The directory.
    plain : {"best", "none"}
        Whether files that tools read must stay readable by them.
    known : str, optional
        Its kind, if a manifest states it: the files that identify it may already be slimmed.

    Returns
    -------
    Recognised
        Its kind, best predictions and files.

    Raises
    ------
    UsageError
        If it does not exist, or is not of AF2, AF3 or OpenFold3.
    HarnessError
        If its ranking file is damaged.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no directory {folder}.")
    why: list[str] = []
    names = list(_files(folder))
    for kind, program in _PROGRAMS.items():
        if known == kind or (not known and program.shows(folder, names, why)):
            best = program.rank(folder)
            stays = tuple(name for name in names if program.stays.fullmatch(name))
            return Recognised(kind, best, tuple(program.items(names, best, plain)), stays)
    hint = f" ({'; '.join(why[:1])})" if why else ""
    raise UsageError(
        f"{folder} is neither a result directory of AlphaFold2 nor of AlphaFold3 or OpenFold3: it holds no ranking, "
        f"result or confidences that one of them wrote{hint}; name the directory of one job."
    )


def parse(name: str, data: bytes) -> Any:
    """Parse a pickle or a JSON as slimming does; raise `HarnessError` if it is damaged or would run code."""
    return pickles.load(data) if name.endswith(".pkl") else parse_json(data)


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of regular files in a directory and in its folders that are no links."""
    for path in sorted((*folder.glob("*"), *folder.glob("*/*"))):
        name = path.relative_to(folder).as_posix()
        linked = path.parent != folder and path.parent.is_symlink()
        if is_plain_file(path) and not linked and not path.name.startswith(".") and is_safe_name(name):
            yield name


def _has(*needed: str, any_of: tuple[str, ...] = ()) -> Test:
    """Return a test for a dictionary with all keys `needed`, and at least one of `any_of` if any are given."""

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
    """Return whether content is AF2's table of predicted aligned errors, in either of its two layouts."""
    first = content[0] if isinstance(content, list) and content else content
    return _has("predicted_aligned_error")(first) or _has("residue1", "distance")(first)


class _Program(NamedTuple):
    """Recognition of a program's directories, and the files in them.

    A ranking identifies a directory if the program has names of its `own`; it may be damaged if no file has such a
    name. Otherwise files of certain names identify it by their content (`shown_by`).
    """

    rank: Callable[[Path], tuple[str, ...]]
    own: str
    shown_by: tuple[tuple[str, Test], ...]
    rules: tuple[ProgramRule, ...]
    stays: re.Pattern[str]

    def shows(self, folder: Path, names: list[str], why: list[str]) -> bool:
        """Return whether a directory is of the program; add files that could not be read to `why`, with the reason."""
        try:
            if self.own and self.rank(folder):
                return True
        except HarnessError:
            if any(re.fullmatch(self.own, name) for name in names):
                raise
        for pattern, test in self.shown_by:
            for name in (name for name in names if re.fullmatch(pattern, name)):
                try:
                    if test(parse(name, read_bytes(folder / name))):
                        return True
                except HarnessError as error:
                    why.append(f"{name}: {error}")
        return False

    def items(self, names: list[str], best: tuple[str, ...], plain: Plain) -> Iterator[Item]:
        """Yield the files that slimming may touch, kept files first, so that copies refer to an unchanged file."""
        for rule in self.rules:
            found = [match for name in names if (match := re.fullmatch(rule.name, name))]
            items = [Item(match.group(), rule, _kept(rule, match, best, plain)) for match in found]
            yield from sorted(items, key=lambda item: (not item.keep, item.path))


def _kept(rule: ProgramRule, match: re.Match[str], best: tuple[str, ...], plain: Plain) -> str:
    if plain != "best" or rule.stays in ("none", "top"):
        return ""
    if rule.stays == "all":
        return "tools read it as it is, and no other form of it"
    if not best:
        return "no ranking says which prediction is the best, so what tools read of any stays as it is"
    tied = " (tied)" if len(best) > 1 else ""
    return f"tools read the best prediction as it is{tied}" if match.group(1) in best else ""


_PKL, _PAE = r"result_[^/]*\.pkl", r"pae_[^/]*\.json"
_SAMPLE = r"(seed-\d+_sample-\d+)"
_FULL = r"confidences\.json(?<!summary_confidences\.json)"
_OPENFOLD3 = r"([^./][^/]*_seed_\d+_sample_\d+)_confidences\.json"

_PROGRAMS: dict[Kind, _Program] = {
    "af2": _Program(
        rank_af2,
        rf"{_PKL}|{_PAE}",
        ((_PAE, _is_pae), (_PKL, _is_result)),
        (ProgramRule(_PKL, _is_result), ProgramRule(r"features\.pkl", _is_features), ProgramRule(_PAE, _is_pae, "all")),
        re.compile(rf"{AF2_RANKING}|(ranked|relaxed|unrelaxed)_[^/]*|confidence_[^/]*\.json|timings\.json"),
    ),
    "af3": _Program(
        rank_af3,
        rf"{_SAMPLE}/.*",
        # Summary scores are small and sufficient.
        tuple(
            (name, lambda content: _is_summary(content) or _is_confidences(content))
            for name in (rf"{_SAMPLE}/[^/]*confidences\.json", r"[^/]*_confidences\.json")
        ),
        (
            ProgramRule(rf"{_SAMPLE}/[^/]*{_FULL}", _is_confidences, "best"),
            ProgramRule(rf"[^/]*_{_FULL}", _is_confidences, "top"),
            ProgramRule(r"[^/]*_data\.json", _is_input),
        ),
        re.compile(
            rf"[^/]*{AF3_RANKING}|([^/]*_|{_SAMPLE}/[^/]*)model\.cif|([^/]*_|{_SAMPLE}/[^/]*)summary_confidences\.json"
        ),
    ),
    "openfold3": _Program(
        rank_openfold3,
        "",
        ((_OPENFOLD3, _is_openfold3),),
        (ProgramRule(_OPENFOLD3, _is_openfold3, "best"),),
        re.compile(rf"[^/]*_model\.(cif|pdb)|[^/]*{OPENFOLD3_SCORES}"),
    ),
}

READ_AS_XZ: dict[Kind, str] = {"af2": _PKL, "af3": rf"{_SAMPLE}/[^/]*confidences\.json"}
"""Files that some tools, AlphaPulldown and AlphaJudge, also read with ``.xz`` after their name."""
