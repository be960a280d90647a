"""The commands that measure and draw: ``run`` and ``plot``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from harness import registry
from harness.analysis.noise import mixed_machines
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.cli import answer, cluster_option, readers, run_messages, terminal
from harness.cli.options import add_max_inflated, add_output, add_plugins, integer, integers, names, one_of, size
from harness.cli.parser import examples
from harness.cli.project_defaults import fill_in
from harness.cli.source_options import add_taking, file_text, show_taken
from harness.errors import MachineError, UsageError, cause_of
from harness.foreign.opening import Asked, taken
from harness.formats.base import PROFILES
from harness.formats.profile_file import ProfileFile, read_profile_file
from harness.report.folders import held
from harness.report.run_report import run_and_report
from harness.report.write import write_plots
from harness.run.config import RunConfig
from harness.run.defaults import all_suites, complete, default_formats, usable_traces
from harness.run.experiment import run
from harness.run.machine import describe, read_environment
from harness.run.measurement import installed
from harness.run.planned_run import PlannedRun
from harness.run.planning import choose_arms
from harness.run.presets import OWN, PRESETS, STANDARD
from harness.sampling.interrupt import exit_code
from harness.workload import Cache

_CACHES: dict[str, tuple[Cache, ...]] = {"warm": ("warm",), "cold": ("cold",), "both": ("warm", "cold")}
_FIELDS = {
    "trace": "traces", "sizes": "sizes", "profile": "profiles", "cache": "caches",
    "rounds": "rounds", "seed": "seed", "timeout": "timeout", "trace_bytes": "trace_bytes",
    "threads": "threads", "decoded_cache": "cache_bytes",
}  # fmt: skip
"""Fields of a configuration, by the options whose values they take unchanged."""


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.epilog = examples(
        "run result.npz                          # on arrays of your own",
        "run --preset quick --out results/first  # on synthetic arrays",
        "run --resume --out results/first        # to the end of it",
    )
    own: dict[str, Any] = {}
    types: dict[str, Any] = {}

    def add(group: argparse._ActionsContainer, *flags: str, **settings: Any) -> argparse.Action:
        """Add an option that determines what is measured, which cannot change when a run is continued."""
        action = group.add_argument(*flags, **settings)
        own[action.dest], types[action.dest] = action.default, action.type
        return action

    parser.add_argument("paths", nargs="*", metavar="PATH", help="files and folders whose arrays form one "
        "trace, instead of the traces of the preset; or one archive, or output of a known program")  # fmt: skip
    _add_what(partial(add, parser.add_argument_group("workload")))
    _add_how(partial(add, parser.add_argument_group("measurement")))
    readers.add_reading(parser, add)
    add_plugins(parser, "is measured besides, or that the run to continue asks for")
    add_taking(parser)
    own |= dict.fromkeys(("kind",)) | {"rules": []}
    extended = partial(add, parser.add_argument_group("measurements of extensions"))
    for each in installed():
        each.add_options(extended)
    cluster_option.add_launchers(parser)
    group = parser.add_argument_group("output")
    group.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: results/<time>-<preset>)")
    group.add_argument("--resume", action="store_true", help="continue the run in --out with its own settings")
    add_max_inflated(parser)
    add_output(parser, quiet="errors", verbose=True)
    parser.set_defaults(command=_run, measuring=own, types=types)


def _add_what(add: Callable[..., argparse.Action]) -> None:
    # fmt: off
    add("--preset", type=one_of("preset", PRESETS), metavar="NAME",
        help=f"{', '.join(PRESETS)}; the options below change it (default: {OWN} for files, else {STANDARD})")
    add("--trace", action="append", metavar="NAME[:key=value,...]",
        help="a trace; repeatable (default: those of the preset)")
    add("--formats", metavar="A,B", help="formats to compare (default: all that are not optional)")
    add("--suites", metavar="A,B", help="suites to run (default: those of the preset, or all)")
    add("--sizes", type=partial(integers, option="--sizes"), metavar="N,M",
        help="sequence lengths (residues) of synthetic traces (default: those of the preset)")
    add("--trace-bytes", type=size("--trace-bytes", least=1), metavar="SIZE", help="measure only the first layers of "
        "a trace that fit into so many bytes, such as 64MiB, the same number at every length; the name of the trace "
        "says so (default: all)")
    add("--profile", type=_profiles, metavar="A,B",
        help=f"settings of the formats: {', '.join(PROFILES)}, or a format's own, as fast of zarr-slim (default: those "
        "of the preset)")
    add("--profile-file", action="append", type=Path, metavar="FILE",
        help="an additional profile, as written by 'harness tune'; repeatable")
    # fmt: on


def _add_how(add: Callable[..., argparse.Action]) -> None:
    # fmt: off
    add("--cache", type=lambda text: _CACHES[one_of("cache state", _CACHES)(text)], metavar="STATE",
        help="page cache before reads: warm, cold or both (default: that of the preset)")
    add("--rounds", type=integer("--rounds"), metavar="N",
        help=f"samples per cell; a verdict needs {VERDICT_ROUNDS} (default: those of the preset)")
    add("--threads", type=integer("--threads"), metavar="N", help="processors that a contender may use, and threads of "
        "its library (default: all that this process may use)")
    add("--decoded-cache", type=size("--decoded-cache"), metavar="SIZE", help="limit of the decoded chunks that "
        "a reader may keep while it is open, such as 64MiB (default: that of each library)")
    add("--seed", type=integer("--seed", least=0), metavar="N", help="seed of plans and order (default: 0)")
    add("--baseline", metavar="FORMAT", help=f"the format to which ratios refer (default: {RunConfig.baseline})")
    add("--timeout", type=integer("--timeout"), metavar="SECONDS", help="time limit of a sample, to which 1 s is added "
        "for every 25 MB of the largest trace (default: 600)")
    # fmt: on


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``plot``."""
    parser.epilog = examples("plot results/first", "plot results/reference")
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    add_plugins(parser)
    add_output(parser, quiet="errors")
    parser.set_defaults(command=_plot)


def _run(arguments: argparse.Namespace) -> int:
    tell = partial(terminal.say, quiet=arguments.quiet)
    launcher = cluster_option.chosen(arguments)
    config, folder = _continued(arguments) if arguments.resume else _new(arguments)
    if launcher:
        settled = launcher.settled(config, folder, tell)
        if arguments.resume and settled != config:
            raise UsageError(f"{folder} asks for what --cluster cannot measure here: start a new run with --cluster.")
        config = settled
    planned = PlannedRun.of(config)  # before the folder is made, so that a wrong name leaves nothing behind
    for subject in planned.subjects:
        provenance = subject.manifest.provenance
        if provenance.importer and provenance.note:
            tell(f"Note on {subject.label}: {terminal.cut(provenance.note)}.")
    for group in ("measurements", "sections"):
        for listed in registry.listing(group):
            if listed.plugin is None:
                tell(f"Left out: {listed.missing}")
    readers.require_readers(config, quiet=arguments.quiet)
    if launcher and (preview := launcher.preview(planned, folder)):
        terminal.say(preview)
        return 0
    typed, codes = launcher.typed if launcher else "", list[int]()
    with ExitStack() as stack:
        if arguments.resume:
            stack.enter_context(held(folder))
            if not launcher:
                _require_same_machine(folder)
        disk = planned.require_space(folder, tell)
        tell(str(disk))
        if not arguments.resume:
            stack.enter_context(held(folder, new=True))
            config.save(folder / "run.json")
        stack.enter_context(continuable(folder, config, typed))
        written = run_and_report(
            planned, folder, terminal.progress(quiet=arguments.quiet, verbose=arguments.verbose), disk,
            measure=launcher.run if launcher else run,
            interrupted=lambda error: codes.append(interrupted(error, folder, config)),
        )  # fmt: skip
    if not arguments.quiet:
        terminal.answer(answer.screen(written))
        run_messages.sections(written)
        run_messages.where(folder, written)
    onward = readers.resume_command(folder, config, typed)
    failed = sum(codes) or run_messages.failures(written.cells, folder, onward)
    return max(failed, launcher.check(folder, tell)) if launcher else failed


def interrupted(error: KeyboardInterrupt, folder: Path, config: RunConfig) -> int:
    """Print how to continue a run that Ctrl-C, SIGTERM or SIGHUP ended; return the exit code."""
    terminal.complain(f"Interrupted; what was measured is kept. {_onward(folder, config)}")
    return exit_code(error)


@contextmanager
def continuable(folder: Path, config: RunConfig, typed: str = "") -> Iterator[None]:
    """Raise MachineError, with how to continue, if a run's folder cannot be written any more, as on a full disk.

    `typed` is as for `harness.cli.readers.resume_command`.
    """
    try:
        yield
    except OSError as error:
        if not cause_of(error):
            raise
        raise MachineError(
            f"{error.filename or folder}: {error.strerror or error}. What was measured is kept. Free some space. "
            f"{_onward(folder, config, typed)}"
        ) from error


def _onward(folder: Path, config: RunConfig, typed: str = "") -> str:
    return f"Continue with: {readers.resume_command(folder, config, typed)}"


def _require_same_machine(folder: Path) -> None:
    """Raise UsageError if a run was measured on another machine: its verdicts would mix the two."""
    path = folder / "environment.json"
    if path.exists():
        environment = read_environment(path)
        environment["sessions"].append(describe(folder))
        if differs := mixed_machines(environment):
            raise UsageError(f"{folder} was measured elsewhere: {differs.rstrip('.')}. Start a new run here.")


def _plot(arguments: argparse.Namespace) -> int:
    with held(arguments.run):
        with terminal.busy("drawing", quiet=arguments.quiet):
            written = write_plots(arguments.run)
        for path in written:
            terminal.say(str(path), quiet=arguments.quiet)
    return 0


def _continued(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    given = [name for name, default in arguments.measuring.items() if getattr(arguments, name) != default]
    if given := given + readers.given_of_stores(arguments):
        raise UsageError(f"--resume continues with the run's own settings: leave out --{given[0].replace('_', '-')}.")
    if arguments.paths:
        raise UsageError(f"--resume continues with the run's own traces: leave out {arguments.paths[0]}.")
    if arguments.out is None:
        raise UsageError("--resume needs the folder of the run to continue: --out DIR.")
    config = RunConfig.read(arguments.out / "run.json")
    readers.require_same(config, arguments)
    return config, arguments.out


def _new(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    tell = partial(terminal.say, quiet=arguments.quiet)
    if usual := fill_in(arguments, arguments.types):
        tell(usual)
    preset = arguments.preset or (OWN if arguments.paths else STANDARD)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder: Path = arguments.out or Path("results") / f"{stamp}-{preset}"
    values: dict[str, Any] = {**PRESETS[preset], "run_id": folder.resolve().name, "preset": preset}
    values["formats"] = names(arguments.formats, "format") or default_formats(tell)
    values["formats"] += tuple(arguments.backend)
    suites = names(arguments.suites, "suite") or values.get("suites") or all_suites()
    values["suites"] = suites + tuple(arguments.suite)
    for option, field in _FIELDS.items():
        if (given := getattr(arguments, option)) is not None:
            values[field] = tuple(given) if isinstance(given, list) else given
    if arguments.paths:
        values["traces"] = (*(arguments.trace or ()), _taken(arguments))
    elif not arguments.trace:
        values["traces"] = usable_traces(values["traces"], tell)
    values["profile_files"] = _profile_files(arguments.profile_file or [])
    values["measurements"] = {m.name: asked for m in installed() if (asked := m.asked(arguments)) is not None}
    alone = any(each.alone for each in installed() if each.name in values["measurements"])
    if alone and not arguments.trace and not arguments.paths:
        values["traces"] = ()
    options = readers.chosen_workers(arguments, values["options"])
    values["store"] = readers.chosen_store(arguments, options.workers)
    if values["store"] is not None:
        values["readers"] = ()  # the store has its own ways to open an archive
    if arguments.readers is not None:
        if values["store"] is not None:
            raise UsageError("--readers names readers of local archives: leave it out with --store.")
        values["readers"] = names(arguments.readers, "reader")
    values["settings"] = readers.chosen_settings(arguments, options.workers)
    config = complete({**values, "options": options})
    if arguments.baseline is not None:
        measured = one_of("measured format for --baseline", [arm.label for arm in choose_arms(config)])
        config = dataclasses.replace(config, baseline=measured(arguments.baseline))
    return config, folder


def _taken(arguments: argparse.Namespace) -> str:
    """Return the trace of the given paths, after printing what their arrays were taken for."""
    text = file_text(arguments.paths, arguments)
    if found := taken(Asked.parse(text.partition(":")[2])):
        show_taken(found, quiet=arguments.quiet)
    return text


def _profile_files(paths: list[Path]) -> tuple[ProfileFile, ...]:
    files = tuple(read_profile_file(path) for path in paths)
    for number, file in enumerate(files):
        if file.name in (other.name for other in files[:number]):
            raise UsageError(f"Two profile files have the name {file.name!r}: change it in {paths[number]}.")
    return files


def _profiles(text: str) -> tuple[str, ...]:
    return tuple(names(text, "profile"))
