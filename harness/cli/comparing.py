"""The command ``compare``: two commits, two environments or two stored runs, and an exit code for a gate."""

from __future__ import annotations

import argparse
import datetime
import shutil
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import get_args

from harness.analysis import formatting as words
from harness.cli import show
from harness.cli.folders import held
from harness.cli.options import add_plugins, integers, names
from harness.compare.building import (
    EXISTING,
    Recipe,
    build,
    check_sides,
    commit_recipe,
    default_cache,
    differing,
    environment_recipe,
)
from harness.compare.comparison import WORDS, Outcome, change, compare_sides, require_rounds
from harness.compare.documents import bytes_sentence, to_json, to_junit, to_markdown, verdict
from harness.compare.question import CompareSettings, ask
from harness.compare.ratios import Point, draw_ratios
from harness.compare.side import NotComparable, Side, SideError
from harness.compare.stored import compare_stored, is_stored
from harness.compare.verdict import THRESHOLD, Word
from harness.errors import HarnessError, UsageError
from harness.files import write_text
from harness.formats.base import PROFILES
from harness.sampling.interrupt import deferred

_NAMES = ("base", "head")
_MOST = 24  # lost cells printed
_ROUNDS = CompareSettings().rounds


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``compare``."""
    parser.description = (
        "Compare two commits or two environments in turn on this machine, or two stored runs. "
        "Exit code 0: no regression, 1: regression, 3: inconclusive, 2: it could not be compared."
    )
    add = parser.add_argument
    add("base", nargs="?", metavar="BASE", help="a commit, or the folder or bundle of a run")
    add("head", nargs="?", metavar="HEAD", help="the same (default: the commit HEAD)")
    add(
        "--env", action="append", metavar="REQUIREMENTS",
        help=f"instead: an environment of this version, such as 'zarr==3.1.6', or {EXISTING}PYTHON; give two",
    )  # fmt: skip
    add("--python", action="append", metavar="PYTHON", help="interpreter to build with: one for both, or one each")
    add("--pin", action="append", default=[], metavar="REQUIREMENT", help="a requirement of both commits; repeatable")
    add("--repo", type=Path, default=Path(), metavar="DIR", help="the checkout that has the commits (default: here)")
    add("--trace", action="append", metavar="NAME[:key=value,...]", help="a trace; repeatable")
    add("--sizes", metavar="N,M", help="sequence lengths (residues) of synthetic traces (default: 64)")
    add("--formats", metavar="A,B", help=f"formats (default: {','.join(CompareSettings().formats)})")
    add("--suites", metavar="A,B", help=f"suites (default: {','.join(CompareSettings().suites)})")
    add_plugins(parser, "both sides have, or that the stored runs ask for")
    add("--profile", default="tuned", metavar="NAME", help=f"settings of the formats: {', '.join(PROFILES)}")
    add("--rounds", default=str(_ROUNDS), metavar="N", help=f"fresh processes of each side (default: {_ROUNDS})")
    add(
        "--threshold", default=f"{100 * THRESHOLD:g}", metavar="PERCENT",
        help=f"the slowdown that matters (default: {100 * THRESHOLD:g})",
    )  # fmt: skip
    add("--seed", default="0", metavar="N", help="decides plans and order (default: 0)")
    add("--timeout", default="120", metavar="SECONDS", help="after which a task counts as hung (default: 120)")
    add("--cache-dir", type=Path, metavar="DIR", help="where environments are kept (default: the user's cache)")
    add("--out", type=Path, metavar="DIR", help="folder for all of what follows (default: results/<time>-compare)")
    add("--json", type=Path, metavar="FILE", help="also write everything, each block of times included, as JSON")
    add("--junit", type=Path, metavar="FILE", help="also write JUnit XML")
    add("--markdown", type=Path, metavar="FILE", help="also write the comment for a pull request")
    add("--quiet", action="store_true", help="print nothing but the verdict and errors")
    parser.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    threshold = _percent(arguments.threshold)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder: Path = arguments.out or Path("results") / f"{stamp}-compare"
    with ExitStack() as kept:
        try:
            if arguments.env is None and any(text is not None and is_stored(text) for text in _texts(arguments)):
                _require_both_stored(*_texts(arguments))
                outcome = _stored(arguments.base, arguments.head, threshold)
                kept.enter_context(held(folder, new=True))
            else:
                outcome = _measured(arguments, threshold, folder, kept)
        except UsageError:
            raise
        except HarnessError as error:  # exit code 1 is kept for a regression
            raise UsageError(str(error)) from error
        with deferred():  # all documents or none
            _write(outcome, folder, arguments)
    if not arguments.quiet:
        _told(outcome, folder)
    show.say(outcome.sentence)
    return outcome.exit_code


def _stored(base: str, head: str, threshold: float) -> Outcome:
    try:
        return compare_stored(base, head, threshold)
    except NotComparable as error:  # which the documents say too
        return Outcome(base=base, head=head, threshold=threshold, refused=str(error))


def _texts(arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    return arguments.base, arguments.head


def _require_both_stored(base: str | None, head: str | None) -> None:
    for one, other in ((base, head), (head, base)):
        if other is None or not is_stored(other):
            raise UsageError(f"{one} is a stored run and {other or 'HEAD'} is none: compare like with like.")


def _measured(arguments: argparse.Namespace, threshold: float, folder: Path, kept: ExitStack) -> Outcome:
    """Build both sides and measure them; the folder is held until `kept` is closed."""
    settings = _settings(arguments)
    require_rounds(settings.rounds)
    recipes = _recipes(arguments)
    cache = (arguments.cache_dir or default_cache()).absolute()
    with tempfile.TemporaryDirectory(prefix="harness-compare-") as name, ExitStack() as stack:
        scratch = Path(name)
        questions = ask(settings, scratch / "data")
        kept.enter_context(held(folder, new=True))
        unused = stack.enter_context(ExitStack())
        unused.callback(_remove_empty, folder)  # what could not be compared leaves no folder
        for recipe in recipes:
            show.say(f"{recipe.name}: {recipe.label}", quiet=arguments.quiet)
        base, head = (build(recipe, cache) for recipe in recipes)
        (scratch / "archives").mkdir()
        try:
            check_sides(base, head, settings.formats, settings.suites)
            with show.progress(quiet=arguments.quiet) as progress, deferred():
                outcome = compare_sides((base, head), questions, settings, scratch / "archives", progress, threshold)
        except (NotComparable, SideError) as error:  # which the documents say too
            outcome = Outcome(base=base.label, head=head.label, threshold=threshold, refused=str(error))
        unused.pop_all()
    outcome.notes.extend(_besides(arguments, base, head))
    return outcome


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _besides(arguments: argparse.Namespace, base: Side, head: Side) -> list[str]:
    """Say what differs besides what was asked for."""
    differs = differing(base, head)
    if not differs:
        return []
    kind = "environments" if arguments.env else "commits, as installed,"
    return [f"The two {kind} differ in {words.listed(differs)}."]


def _settings(arguments: argparse.Namespace) -> CompareSettings:
    default = CompareSettings()
    if arguments.profile not in PROFILES:
        raise UsageError(f"--profile takes one of {', '.join(PROFILES)}, got {arguments.profile!r}.")
    return CompareSettings(
        traces=tuple(arguments.trace or default.traces),
        sizes=integers(arguments.sizes, "--sizes") if arguments.sizes is not None else default.sizes,
        formats=(names(arguments.formats, "format") or default.formats) + tuple(arguments.backend),
        suites=(names(arguments.suites, "suite") or default.suites) + tuple(arguments.suite),
        profile=arguments.profile,
        seed=integers(arguments.seed, "--seed", single=True, least=0)[0],
        rounds=integers(arguments.rounds, "--rounds", single=True)[0],
        timeout=integers(arguments.timeout, "--timeout", single=True)[0],
    )


def _recipes(arguments: argparse.Namespace) -> list[Recipe]:
    pythons = [_interpreter(text) for text in arguments.python or [sys.executable]]
    if len(pythons) > 2:
        raise UsageError("--python names one interpreter for both sides, or one for each: give it once or twice.")
    pythons = [pythons[0], pythons[-1]]
    if arguments.env is not None:
        if arguments.base is not None or len(arguments.env) != 2:
            raise UsageError("Two environments are compared: give --env twice, and no BASE or HEAD.")
        return [environment_recipe(n, text, p) for n, text, p in zip(_NAMES, arguments.env, pythons, strict=True)]
    if arguments.base is None:
        raise UsageError("Name what to compare: BASE and HEAD as commits or as runs, or --env twice.")
    texts = (arguments.base, arguments.head or "HEAD")
    return [
        commit_recipe(n, text, p, arguments.pin, arguments.repo)
        for n, text, p in zip(_NAMES, texts, pythons, strict=True)
    ]


def _interpreter(text: str) -> Path:
    found = shutil.which(text)
    if found is None:
        raise UsageError(f"There is no interpreter {text}: --python takes the path of one, or a name on the PATH.")
    return Path(found).absolute()


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise UsageError(f"--threshold takes a number of percent above 0, got {text!r}.")
    return value / 100


def _write(outcome: Outcome, folder: Path, arguments: argparse.Namespace) -> None:
    """Write every document into the folder, and those that were asked for elsewhere too."""
    for text, name, other in (
        (to_json(outcome), "compare.json", arguments.json),
        (to_junit(outcome), "junit.xml", arguments.junit),
        (to_markdown(outcome), "compare.md", arguments.markdown),
    ):
        for path in filter(None, (folder / name, other)):
            write_text(path, text)
    if outcome.judged:
        points = [
            Point(name=outcome.name(j.cell), ratio=j.ratio.median, low=j.ratio.low, high=j.ratio.high, word=j.word)
            for j in outcome.judged
        ]
        title = f"{outcome.head} against {outcome.base}: {WORDS[outcome.exit_code]}"
        draw_ratios(
            points,
            folder,
            title=title,
            threshold=outcome.threshold,
            notes=[f"Trace: {words.listed(outcome.subjects)}.", *outcome.notes],
        )


def _told(outcome: Outcome, folder: Path) -> None:
    shown = show.table(
        words.listed(outcome.subjects), "cell", "base", "head", "change (95 % interval)", "rounds", "verdict"
    )
    order = {word: place for place, word in enumerate(("slower", "inconclusive", "faster", "no regression"))}
    assert set(order) == set(get_args(Word))
    for j in sorted(outcome.judged, key=lambda judged: order[judged.word]):
        base, head = words.duration(j.base_seconds), words.duration(j.head_seconds)
        shown.add_row(outcome.name(j.cell), base, head, change(j), str(j.rounds), verdict(j))
    if outcome.judged:
        show.console().print(shown, markup=False)
    for lost in outcome.lost[:_MOST]:
        show.say(f"{outcome.name(lost.cell)}: {lost.how}")
    if len(outcome.lost) > _MOST:
        show.say(f"and {len(outcome.lost) - _MOST} more, in compare.json and compare.md")
    for figure in outcome.figures:
        if figure.change in ("grew", "shrank"):
            show.say(f"{outcome.name(figure.cell)}: {figure.name} {figure.change}, {figure.base:,} to {figure.head:,}")
    for reading in outcome.readings:
        if reading.problem:
            show.say(str(reading))
    if outcome.readings and not any(reading.problem for reading in outcome.readings):
        show.say("Each side reads the archives of both, bit for bit.")
    for text in filter(None, (bytes_sentence(outcome), *outcome.notes)):
        show.say(text)
    show.say(
        f"For a pull request: {folder / 'compare.md'}   for machines: {folder / 'compare.json'}, {folder / 'junit.xml'}"
    )
    if outcome.judged:
        show.say(f"Picture: {folder / 'ratios.png'}")
