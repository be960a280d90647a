"""The command ``compare``: two commits, two environments or two stored runs, and an exit code for a gate."""

from __future__ import annotations

import argparse
import datetime
import shutil
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from harness.analysis import formatting
from harness.cli import terminal
from harness.cli.options import add_output, add_plugins, integers, names
from harness.cli.parser import examples
from harness.errors import HarnessError, UsageError
from harness.extensions.compare.building import EXISTING, build, commit_side, default_cache, differing, environment_side
from harness.extensions.compare.comparison import compare_sides, require_rounds
from harness.extensions.compare.documents import COLUMNS, as_document, row, sentences, to_json, to_junit, to_markdown
from harness.extensions.compare.outcome import THRESHOLD, Outcome
from harness.extensions.compare.question import CompareSettings, ask
from harness.extensions.compare.ratios import draw_ratios
from harness.extensions.compare.side import NotComparable, Side, SideError
from harness.extensions.compare.stored import compare_stored, is_stored
from harness.files import write_text
from harness.formats.base import PROFILES
from harness.report.folders import held
from harness.run.progress import Progress
from harness.sampling.interrupt import deferred

_NAMES = ("base", "head")
_MOST = 24  # regressions printed
_DOCUMENTS = {"compare.json": to_json, "junit.xml": to_junit, "compare.md": to_markdown}
_ORDER = ("slower", "inconclusive", "faster", "no regression")


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Catch regressions between two commits, two environments or two stored runs."""
    default = CompareSettings()
    parser.description = (
        "Compare two commits or two environments in turn on this machine, or two stored runs. "
        "Exit code 0: no regression, 1: regression, 3: inconclusive, 2: it could not be compared."
    )
    parser.epilog = examples("compare main HEAD", "compare --env zarr==3.1.6 --env zarr==3.4.2 --python python3.12")
    parser.add_argument("base", nargs="?", metavar="BASE", help="a commit, or the folder or bundle of a run")
    parser.add_argument("head", nargs="?", metavar="HEAD", help="the same (default: the commit HEAD)")
    add = parser.add_argument_group("builds").add_argument
    add(
        "--env", action="append", metavar="REQUIREMENTS",
        help="compare environments instead: a version, such as 'zarr==3.1.6', or "
        f"{EXISTING}PYTHON; give two (default: two commits)",
    )  # fmt: skip
    add("--python", action="append", metavar="PYTHON", help="interpreter for builds: one for both sides, or one each "
        "(default: this one)")  # fmt: skip
    add("--pin", action="append", default=[], metavar="REQUIREMENT", help="a requirement of both commits; repeatable")
    add("--repo", type=Path, default=Path(), metavar="DIR", help="the checkout that has the commits (default: here)")
    add("--cache-dir", type=Path, metavar="DIR", help="where environments are kept (default: the user's cache)")
    add = parser.add_argument_group("measurement").add_argument
    add("--trace", action="append", metavar="NAME[:key=value,...]", help="a trace; repeatable")
    add("--sizes", metavar="N,M", help="sequence lengths (residues) of synthetic traces (default: 64)")
    add("--formats", metavar="A,B", help="formats (default: those of base that are not optional)")
    add("--suites", metavar="A,B", help="suites (default: those of both sides that are part of a cost)")
    add_plugins(parser, "both sides have, or that the stored runs ask for")
    add("--profile", default=default.profile, metavar="NAME", help=f"settings of the formats: {', '.join(PROFILES)}")
    for option, value, metavar, text in (
        ("--rounds", default.rounds, "N", "rounds, each with new processes of both sides"),
        ("--threshold", f"{100 * THRESHOLD:g}", "PERCENT", "the smallest slowdown to detect"),
        ("--seed", default.seed, "N", "seed of plans and order"),
        ("--timeout", f"{default.timeout:g}", "SECONDS", "after which a task counts as hung"),
    ):
        add(option, default=str(value), metavar=metavar, help=text)
    where = "folder of the documents (default: results/<time>-compare)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=where)
    add_output(parser, quiet="the verdict and errors", verbose=True, json=True)
    parser.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    threshold = _percent(arguments.threshold)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder: Path = arguments.out or Path("results") / f"{stamp}-compare"
    texts = (arguments.base, arguments.head)
    with ExitStack() as kept:
        try:
            if arguments.env is None and any(text is not None and is_stored(text) for text in texts):
                with terminal.busy("reading both runs", quiet=arguments.quiet):
                    outcome = _stored(*texts, threshold)
                kept.enter_context(held(folder, new=True))
            else:
                outcome = _measured(arguments, threshold, folder, kept)
        except UsageError:
            raise
        except HarnessError as error:  # exit code 1 is reserved for a regression
            raise UsageError(str(error)) from error
        with deferred():  # all documents or none
            for name, written in _DOCUMENTS.items():
                write_text(folder / name, written(outcome))
            if outcome.of("times"):
                draw_ratios(outcome, folder)
    if arguments.json:
        terminal.result(as_document(outcome))
    else:
        if not arguments.quiet:
            _say(outcome, folder)
        terminal.say(outcome.sentence)
    return outcome.exit_code


def _stored(base: str | None, head: str | None, threshold: float) -> Outcome:
    if base is None or head is None or not (is_stored(base) and is_stored(head)):
        one, other = (base, head) if base is not None and is_stored(base) else (head, base)
        raise UsageError(f"{one} is a stored run and {other or 'HEAD'} is not: compare two runs or two commits.")
    try:
        return compare_stored(base, head, threshold)
    except NotComparable as error:  # the documents report this too
        return Outcome(base=base, head=head, threshold=threshold, refused=str(error))


def _measured(arguments: argparse.Namespace, threshold: float, folder: Path, kept: ExitStack) -> Outcome:
    """Build both sides and measure them; hold the folder until `kept` is closed."""
    settings = _settings(arguments)
    require_rounds(settings.rounds)
    sides = _sides(arguments)
    cache = (arguments.cache_dir or default_cache()).absolute()
    for side in sides:
        terminal.say(f"{side.name}: {side.label}", quiet=arguments.quiet)
    with tempfile.TemporaryDirectory(prefix="harness-compare-") as name, ExitStack() as stack:
        scratch = Path(name)
        progress = stack.enter_context(terminal.progress(quiet=arguments.quiet, verbose=arguments.verbose))
        progress.step("making the tensors that are compared", 0)
        questions = ask(settings.chosen(), scratch / "data")
        kept.enter_context(held(folder, new=True))
        unused = stack.enter_context(ExitStack())
        unused.callback(_remove_empty, folder)  # removes the folder if nothing could be compared
        (scratch / "archives").mkdir()
        base, head = (_built(side, cache, progress) for side in sides)
        try:
            settings = settings.chosen(base, head)
            with deferred():
                outcome = compare_sides((base, head), questions, settings, scratch / "archives", progress, threshold)
        except (NotComparable, SideError) as error:  # the documents report this too
            outcome = Outcome(base=base.label, head=head.label, threshold=threshold, refused=str(error))
        unused.pop_all()
    if differs := differing(base, head):
        kind = "environments" if arguments.env else "commits, as installed,"
        outcome.notes.append(f"The two {kind} differ in {formatting.listed(differs)}.")
    return outcome


def _built(side: Side, cache: Path, progress: Progress) -> Side:
    progress.step(f"building {side.name}: {side.label}", 0)
    return build(side, cache)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _settings(arguments: argparse.Namespace) -> CompareSettings:
    default = CompareSettings()
    if arguments.profile not in PROFILES:
        raise UsageError(f"--profile takes one of {', '.join(PROFILES)}, got {arguments.profile!r}.")
    return CompareSettings(
        traces=tuple(arguments.trace or default.traces),
        sizes=integers(arguments.sizes, "--sizes") if arguments.sizes is not None else default.sizes,
        formats=_given(names(arguments.formats, "format"), "formats", arguments.backend),
        suites=_given(names(arguments.suites, "suite"), "suites", arguments.suite),
        profile=arguments.profile,
        seed=integers(arguments.seed, "--seed", single=True, least=0)[0],
        rounds=integers(arguments.rounds, "--rounds", single=True)[0],
        timeout=integers(arguments.timeout, "--timeout", single=True)[0],
    )


def _given(named: tuple[str, ...], kind: str, own: list[str]) -> tuple[str, ...]:
    """Return the given names or, with only own ones, the defaults, then the own ones; empty means the defaults."""
    defaults: tuple[str, ...] = getattr(CompareSettings().chosen(), kind) if own and not named else ()
    return (*named, *defaults, *own)


def _sides(arguments: argparse.Namespace) -> list[Side]:
    pythons = [_interpreter(text) for text in arguments.python or [sys.executable]]
    if len(pythons) > 2:
        raise UsageError("--python names one interpreter for both sides, or one for each: give it once or twice.")
    pythons = [pythons[0], pythons[-1]]
    if arguments.env is not None:
        if arguments.base is not None or len(arguments.env) != 2:
            raise UsageError("Two environments are compared: give --env twice, and no BASE or HEAD.")
        return [environment_side(n, text, p) for n, text, p in zip(_NAMES, arguments.env, pythons, strict=True)]
    if arguments.base is None:
        raise UsageError("Name what to compare: BASE and HEAD as commits or as runs, or --env twice.")
    texts = (arguments.base, arguments.head or "HEAD")
    return [
        commit_side(n, text, p, arguments.pin, arguments.repo)
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


def _say(outcome: Outcome, folder: Path) -> None:
    shown = terminal.table(formatting.listed(outcome.subjects), *COLUMNS)
    times = sorted(outcome.of("times"), key=lambda entry: _ORDER.index(entry.verdict))
    for entry in times:
        shown.add_row(*row(outcome, entry))
    if times:
        terminal.console().print(shown, markup=False)
    regressions = outcome.regressions
    more = [f"and {len(regressions) - _MOST} more, in compare.md"] if len(regressions) > _MOST else []
    for text in (*regressions[:_MOST], *more, *sentences(outcome)):
        terminal.say(text)
    terminal.say(
        f"For a pull request: {folder / 'compare.md'}   for machines: {folder / 'compare.json'}, {folder / 'junit.xml'}"
    )
    if times:
        terminal.say(f"Picture: {folder / 'ratios.png'}")
