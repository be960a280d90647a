"""The commands that turn a run into evidence: ``report``, ``bundle`` and ``check``."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import TypedDict

from harness import registry
from harness.analysis.choice.mix import parse_mix, presets
from harness.analysis.earlier_comparison import earlier
from harness.analysis.report_options import Options, find_options
from harness.cli import answer, options, run_messages, terminal
from harness.cli.parser import examples
from harness.cli.running import continuable, interrupted
from harness.documents import decode
from harness.errors import HarnessError, UsageError
from harness.evidence.bundle import SUFFIX, Bundle, read_bundle, unpack, write_bundle
from harness.evidence.check import Result, check
from harness.evidence.claims import claimed, shown
from harness.evidence.rerun import compare_runs, rerun_config
from harness.files import plain_name, write_text
from harness.report.folders import held
from harness.report.run_report import run_and_report
from harness.report.write import Target, write_report
from harness.run.config import RunConfig
from harness.run.planned_run import PlannedRun

_MOST = 12  # most problems printed for one file


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``report``."""
    parser.epilog = examples(
        "report results/first",
        "report results/first --mix interactive-viewer --out results/mine",
        "report results/here results/there --out results/both",
    )
    parser.description = (
        "Write report.html and report.md into a run's folder, and its summary and plots again. The answer for a use of "
        "your own (--mix) gets a folder of its own, so that the run's page stays as it is. Of several runs, each is "
        "checked first. Their report says which verdicts hold on all of them; it goes to --out, and changes no run."
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="the run's folder; of several also a bundle of one"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write (default: the run's folder; with --mix RUN/uses/MIX; none for several runs)",
    )
    uses = f"{', '.join(presets())}, a TOML file, or key=value,..."
    parser.add_argument("--mix", metavar="MIX", help=f"how the archive will be used: {uses} (default: each of them)")
    parser.add_argument("--baseline", metavar="FORMAT", help="the format to which ratios refer (default: the run's)")
    parser.add_argument("--earlier", action="store_true", help=f"compare {earlier().name} with this run")
    options.add_max_inflated(parser)
    options.add_plugins(parser)
    options.add_output(parser, quiet="warnings and errors")
    parser.set_defaults(command=_report)


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``bundle``."""
    parser.epilog = examples("bundle results/first", "bundle results/first --out first.bundle.zip")
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"the bundle (default: RUN{SUFFIX})")
    options.add_plugins(parser)
    options.add_output(parser, quiet="errors")
    parser.set_defaults(command=_bundle)


def add_check(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``check``."""
    parser.epilog = examples("check first.bundle.zip --strict", "check --json first.bundle.zip")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="what 'harness bundle' wrote")
    group = parser.add_argument_group("repeating the measurement")
    group.add_argument("--rerun", action="store_true", help="repeat the run here, and say which verdicts hold")
    group.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the second run (default: results/<bundle's file name>-rerun)"
    )
    outside = "let --rerun use the files, directories, store and scheduler that the bundle names"
    group.add_argument("--allow-outside", action="store_true", help=outside)
    left = "fail too when something that could be checked was not checked here"
    parser.add_argument("--strict", action="store_true", help=left)
    options.add_max_inflated(parser)
    options.add_plugins(parser)
    options.add_output(parser, quiet="problems", verbose=True, json=True)
    parser.set_defaults(command=_check)


def _report(arguments: argparse.Namespace) -> int:
    if len(arguments.runs) > 1:
        return _report_several(arguments)
    (run,) = arguments.runs
    config = RunConfig.read(run / "run.json")
    try:
        mix = parse_mix(arguments.mix) if arguments.mix is not None else None
    except UsageError as error:
        raise UsageError(f"{error}{options.untyped(config.formats, config.suites)}") from error
    out: Path | None = arguments.out
    if out is None and mix is not None:
        out = run / "uses" / plain_name(mix.name)
    if out is not None:
        _make_out(out)
    target = None if out is None else Target(out)
    asked = Options(baseline=arguments.baseline or config.baseline, mix=mix, earlier=arguments.earlier)
    with held(out or run), terminal.busy("writing the report and its drawings", quiet=arguments.quiet):
        written = write_report(run, asked, target=target)
    for text in written.incomplete:
        terminal.say(text)
    if arguments.quiet:
        return 0
    terminal.answer(answer.screen(written))
    if written.answer not in written.deciding:
        terminal.say(written.answer)
    terminal.say(f"Report: {written.page}   for a pull request: {written.markdown}")
    return 0


def _report_several(arguments: argparse.Namespace) -> int:
    """Write one report on several runs, with the comparison that an installed package registers."""
    for option, given in (("--mix", arguments.mix is not None), ("--earlier", arguments.earlier)):
        if given:
            raise UsageError(f"{option} is for the report of one run: give it with one, or leave it out.")
    if arguments.out is None:
        raise UsageError("A report on several runs is written into none of them: name a folder with --out.")
    if not (names := registry.names("comparisons")):
        raise UsageError("No installed package reports on several runs: name one run, or install one that does.")
    compare, out = registry.load("comparisons", names[0]), arguments.out
    _require_no_run(out)
    with terminal.progress(quiet=arguments.quiet) as progress:
        files, lines = compare(arguments.runs, arguments.baseline, lambda what: progress.step(what, 0))
    _make_out(out)  # after the comparison, so that refused runs leave no folder
    with held(out):
        for name, text in files.items():
            write_text(out / name, text)
    if arguments.quiet:
        return 0
    terminal.answer(lines)
    terminal.say(f"Report: {out / 'report.html'}   for a pull request: {out / 'report.md'}")
    return 0


def _require_no_run(folder: Path) -> None:
    if (folder / "run.json").exists():
        raise UsageError(f"{folder} holds a run, whose page would be overwritten: choose another --out.")


def _make_out(folder: Path) -> None:
    """Create the folder of a report; raise UsageError if it holds a run, whose page would be overwritten."""
    _require_no_run(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made ({error.strerror}): choose another --out.") from error


def _bundle(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.run
    destination = arguments.out or Path(f"{folder.resolve().name}{SUFFIX}")
    with terminal.busy(f"making the report of {folder} again, and packing it", quiet=arguments.quiet):
        bundle = write_bundle(folder, destination)
    terminal.say(f"Bundle: {destination}", quiet=arguments.quiet)
    terminal.say(f"sha256 of its manifest, to cite: {bundle.sha256}", quiet=arguments.quiet)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    for option, given in (("--out", arguments.out is not None), ("--allow-outside", arguments.allow_outside)):
        if given and not arguments.rerun:
            raise UsageError(f"{option} is about the second run: give it together with --rerun.")
    if arguments.json and arguments.rerun:
        raise UsageError("--json prints what was checked, and not the result of a second run: give it without --rerun.")
    with (
        tempfile.TemporaryDirectory(prefix="harness-check-") as folder,
        terminal.progress(quiet=arguments.quiet, verbose=arguments.verbose) as progress,
    ):
        progress.step(f"reading {arguments.bundle}", 0)
        bundle = read_bundle(arguments.bundle)
        results = check(bundle, Path(folder), lambda what: progress.step(f"checking {what}", 0))
    wrong = sum(bool(result.problems) for result in results)
    if arguments.json:
        _print(bundle, results)
    else:
        _say(results, quiet=arguments.quiet)
    terminal.say(f"sha256 of its manifest: {bundle.sha256}", quiet=arguments.quiet)
    if wrong:
        said = f"{arguments.bundle}: {wrong} of {len(results)} checks failed: what it publishes does not follow."
        raise HarnessError(f"{said}{_untyped(bundle)}")
    if not arguments.json:
        _close(bundle, results, quiet=arguments.quiet)
    if arguments.strict and (left := [result.what for result in results if result.unchecked]):
        raise HarnessError(f"{arguments.bundle}: {len(left)} claims were not checked here: {', '.join(left)}.")
    return _rerun(bundle, arguments) if arguments.rerun else 0


class _Asked(TypedDict, total=False):
    """Fields of a bundle's configuration from which the missing plug-ins are found."""

    formats: list[str]
    suites: list[str]


def _untyped(bundle: Bundle) -> str:
    try:
        asked = decode(bundle.files.get("run.json", b"{}"), _Asked, "run.json", extra=True)
    except HarnessError:  # already printed as one of the problems
        return ""
    return options.untyped(asked.get("formats", ()), asked.get("suites", ()))


def _close(bundle: Bundle, results: list[Result], *, quiet: bool) -> None:
    """Print two lists: what follows from the samples, and what is only claimed."""
    here = " that was checked here" if any(result.unchecked for result in results) else ""
    terminal.say(f"Every published figure{here} follows from the samples.", quiet=quiet)
    for note in (result.note for result in results if result.note):
        terminal.say(f"But: {note}")
    for title, lines in (("Shown", shown(results)), ("Only claimed", claimed(bundle, results))):
        terminal.say(f"{title}:", quiet=quiet)
        for line in lines:
            terminal.say(f"  - {line}", quiet=quiet)


def _print(bundle: Bundle, results: list[Result]) -> None:
    """Print the results of all checks as JSON, with what is only claimed."""
    checks = [dataclasses.asdict(result) for result in results]
    sound = not any(result.problems for result in results)
    left = list(claimed(bundle, results)) if sound else []  # needs a bundle without missing files
    terminal.result({"sha256": bundle.sha256, "sound": sound, "checks": checks, "claimed": left})


def _say(results: list[Result], *, quiet: bool) -> None:
    """Print the results of all checks as text."""
    for result in results:
        if result.problems:
            more = [f"and {len(result.problems) - _MOST} more"] if len(result.problems) > _MOST else []
            terminal.say(f"WRONG  {result.what}")
            for text in (*result.problems[:_MOST], *more):
                terminal.say(f"         {text}")
        elif result.unchecked:
            terminal.say(f"not checked here  {result.what}: {result.unchecked}")
        else:
            terminal.say(f"ok     {result.what}", quiet=quiet)


def _rerun(bundle: Bundle, arguments: argparse.Namespace) -> int:
    """Measure a bundle's run again, and print which verdicts hold; by default, name the folder after the bundle."""
    name = plain_name(arguments.bundle.name.removesuffix(SUFFIX))
    folder: Path = arguments.out or Path("results") / f"{name}-rerun"
    config = rerun_config(bundle, folder.resolve().name, outside=arguments.allow_outside)
    planned = PlannedRun.of(config)
    with held(folder, new=True), continuable(folder, config):
        config.save(folder / "run.json")
        asked = find_options(folder, bundle.files["report.json"])
        progress = terminal.progress(quiet=arguments.quiet, verbose=arguments.verbose)
        try:
            run_and_report(planned, folder, progress, options=asked)
        except KeyboardInterrupt as error:
            return interrupted(error, folder, config)
    with tempfile.TemporaryDirectory(prefix="harness-check-") as scratch:
        first = unpack(bundle.files, Path(scratch))
        for file in ("summary.csv", "report.json"):
            (first / file).write_bytes(bundle.files[file])
        repeat = compare_runs(first, folder)
    run_messages.repeat(repeat, folder)
    return 0 if repeat.holds else 1
