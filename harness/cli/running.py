"""The commands that measure and draw: ``run`` and ``plot``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from harness import registry
from harness.analysis.findings import find_options
from harness.analysis.noise import mixed_machines
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.cli import closing, readers, show
from harness.cli.folders import held
from harness.cli.options import add_max_inflated, add_plugins, integers, names
from harness.errors import MachineError, UsageError, cause_of, unknown_name
from harness.formats.base import PROFILES, ProfileName, load_format
from harness.formats.describing import ReadsWhole
from harness.formats.profile_file import ProfileFile, read_profile_file
from harness.report.write import write_plots, write_report
from harness.run.config import RunConfig
from harness.run.experiment import run
from harness.run.machine import describe, read_environment
from harness.run.measurement import Measuring, copies, installed, open_measurements
from harness.run.plan import save_plan
from harness.run.planning import choose_arms, open_subjects
from harness.run.presets import PRESETS
from harness.run.space import Space, require_space
from harness.run.subject import Arm, Subject
from harness.run.turns import require_few_rows
from harness.sampling.interrupt import exit_code
from harness.suite import load_suite
from harness.workload import Cache

_CACHES: dict[str, tuple[Cache, ...]] = {"warm": ("warm",), "cold": ("cold",), "both": ("warm", "cold")}
_MEASURING = (
    "preset", "trace", "formats", "suites", "sizes", "profile", "profile_file", "cache", "workers",
    "executors", "rounds", "seed", "baseline", "timeout", "trace_bytes",
)  # fmt: skip


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.description = "Measure formats on traces."
    add = parser.add_argument
    add("--preset", metavar="NAME", help=f"{', '.join(PRESETS)}; the options below change it (default: standard)")
    add("--trace", action="append", metavar="NAME[:key=value,...]", help="a trace; repeatable")
    add("--formats", metavar="A,B", help="formats to compare")
    add("--suites", metavar="A,B", help="suites to run")
    add_plugins(parser, "is measured besides, or that the run to continue asks for")
    add("--sizes", metavar="N,M", help="sequence lengths (residues) of synthetic traces")
    add("--trace-bytes", metavar="N", help="measure only as many of a trace's first layers as fit in so many bytes, "
        "as many at every length; the trace's name then says so")  # fmt: skip
    add("--profile", metavar="A,B", help=f"settings of the formats: {', '.join(PROFILES)}")
    add(
        "--profile-file", action="append", type=Path, metavar="FILE",
        help="a further profile, as 'harness tune' writes one; repeatable",
    )  # fmt: skip
    add("--cache", metavar="STATE", help="page cache before reads: warm, cold or both")
    readers.add_reading(parser)
    add("--rounds", metavar="N", help=f"samples per cell; a verdict needs {VERDICT_ROUNDS}")
    add("--seed", metavar="N", help="decides plans and order (default: 0)")
    add("--baseline", metavar="FORMAT", help="the format that ratios refer to (default: zarr)")
    add("--timeout", metavar="SECONDS", help="after which a sample counts as hung, and 1 s more for every 25 MB of the "
        "largest trace (default: 600)")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="the run's folder (default: results/<time>-<preset>)")
    add("--resume", action="store_true", help="continue the run in --out with its own settings")
    add("--quiet", action="store_true", help="print nothing but errors")
    add_max_inflated(parser)
    own: dict[str, Any] = {}

    def add_own(*names: str, **settings: Any) -> argparse.Action:
        action = add(*names, **settings)
        own[action.dest] = action.default
        return action

    for each in installed():
        each.add_options(add_own)
    parser.set_defaults(command=_run, measuring=own)


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``plot``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    add_plugins(parser)
    parser.set_defaults(command=_plot)


def _run(arguments: argparse.Namespace) -> int:
    config, folder = _continued(arguments) if arguments.resume else _new(arguments)
    arms = choose_arms(config)  # before the folder is made, so that a wrong name leaves nothing behind
    subjects, measuring = open_subjects(config), open_measurements(config)
    for group in ("measurements", "sections"):
        for listed in registry.listing(group):
            if listed.plugin is None:
                show.say(f"Left out: {listed.missing}", quiet=arguments.quiet)
    require_few_rows(config, len(arms), subjects)
    readers.require_readers(config, quiet=arguments.quiet)
    tell = partial(show.say, quiet=arguments.quiet)
    with ExitStack() as stack:
        if arguments.resume:
            stack.enter_context(held(folder))
            _require_same_machine(folder)
        disk = require_space(folder, subjects, arms, copies(measuring), timeout=config.timeout, tell=tell)
        tell(str(disk))
        if not arguments.resume:
            stack.enter_context(held(folder, new=True))
            config.save(folder / "run.json")
        stack.enter_context(continuable(folder, config))
        code = measure(config, arms, subjects, measuring, folder, disk, quiet=arguments.quiet)
        written = write_report(folder, find_options(folder), pictures=True)
    if not arguments.quiet:
        closing.tables(written, config)
        closing.where(folder, written)
    if code:
        return code
    return closing.failures(written.cells, folder, readers.resume_command(folder, config))


def measure(
    config: RunConfig,
    arms: list[Arm],
    subjects: list[Subject],
    measuring: list[Measuring],
    folder: Path,
    disk: Space | None = None,
    *,
    quiet: bool,
) -> int:
    """Take every sample of a run, with its plan beside them.

    Parameters
    ----------
    config, arms, subjects, measuring, disk
        As for `harness.run.experiment.run`.
    folder : Path
        The run's folder; holds ``run.json``.
    quiet : bool
        Show no progress.

    Returns
    -------
    int
        0, or the exit code where Ctrl-C or its kin ended it early, which is then said.
    """
    save_plan(subjects, folder / "plan.json", arms)
    with show.progress(quiet=quiet) as progress:
        try:
            run(config, arms, subjects, folder, progress, measuring, disk)
        except KeyboardInterrupt as error:
            show.complain(f"Interrupted; what was measured is kept. {_onward(folder, config)}")
            return exit_code(error)
    return 0


@contextmanager
def continuable(folder: Path, config: RunConfig) -> Iterator[None]:
    """Say how to continue a run when its folder cannot be written to any more, as on a full disk.

    Raises
    ------
    MachineError
        In place of the error of the system.
    """
    try:
        yield
    except OSError as error:
        if not cause_of(error):
            raise
        raise MachineError(
            f"{error.filename or folder}: {error.strerror or error}. What was measured is kept. Free some space. "
            f"{_onward(folder, config)}"
        ) from error


def _onward(folder: Path, config: RunConfig) -> str:
    return f"Continue with: {readers.resume_command(folder, config)}"


def _require_same_machine(folder: Path) -> None:
    """Refuse to continue a run on another machine: its verdicts would mix the two."""
    path = folder / "environment.json"
    if path.exists():
        environment = read_environment(path)
        environment["sessions"].append(describe(folder))
        if differs := mixed_machines(environment):
            raise UsageError(f"{folder} was measured elsewhere: {differs.rstrip('.')}. Start a new run here.")


def _plot(arguments: argparse.Namespace) -> int:
    with held(arguments.run):
        for path in write_plots(arguments.run):
            show.say(str(path))
    return 0


def _continued(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    unset = dict.fromkeys(_MEASURING) | arguments.measuring
    given = [name for name, default in unset.items() if getattr(arguments, name) != default]
    given += readers.given_of_stores(arguments)
    if given:
        raise UsageError(f"--resume continues with the run's own settings: leave out --{given[0].replace('_', '-')}.")
    if arguments.out is None:
        raise UsageError("--resume needs the folder of the run to continue: --out DIR.")
    config = RunConfig.read(arguments.out / "run.json")
    readers.require_same(config, arguments)
    return config, arguments.out


def _new(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    name = arguments.preset or "standard"
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    values: dict[str, Any] = dict(PRESETS[name])
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder: Path = arguments.out or Path("results") / f"{stamp}-{name}"
    formats = names(arguments.formats, "format") or _default_formats(quiet=arguments.quiet)
    values.update(
        run_id=folder.resolve().name,
        preset=name,
        formats=formats + tuple(arguments.backend),
        suites=(names(arguments.suites, "suite") or _all_suites()) + tuple(arguments.suite),
    )
    if arguments.trace:
        values["traces"] = tuple(arguments.trace)
    values["measurements"] = {m.name: asked for m in installed() if (asked := m.asked(arguments)) is not None}
    if not arguments.trace and any(each.alone for each in installed() if each.name in values["measurements"]):
        values["traces"] = ()
    if arguments.sizes is not None:
        values["sizes"] = integers(arguments.sizes, "--sizes")
    if arguments.profile is not None:
        values["profiles"] = _profiles(arguments.profile)
    if arguments.profile_file:
        values["profile_files"] = _profile_files(arguments.profile_file)
    if arguments.cache is not None:
        if arguments.cache not in _CACHES:
            raise unknown_name("cache state", arguments.cache, _CACHES)
        values["caches"] = _CACHES[arguments.cache]
    values["options"] = readers.chosen_workers(arguments, values["options"])
    values["store"] = readers.chosen_store(arguments, values["options"].workers)
    values["settings"] = readers.chosen_settings(arguments, values["options"].workers)
    reads_whole = any(isinstance(load_format(name), ReadsWhole) for name in values["formats"])
    if values["options"].parallel_windows and not reads_whole:
        values["options"] = dataclasses.replace(values["options"], parallel_bytes=None)
    if arguments.rounds is not None:
        (values["rounds"],) = integers(arguments.rounds, "--rounds", single=True)
    if arguments.seed is not None:
        (values["seed"],) = integers(arguments.seed, "--seed", single=True, least=0)
    if arguments.timeout is not None:
        (values["timeout"],) = integers(arguments.timeout, "--timeout", single=True)
    if arguments.trace_bytes is not None:
        (values["trace_bytes"],) = integers(arguments.trace_bytes, "--trace-bytes", single=True)
    if arguments.baseline is not None:
        labels = [arm.label for arm in choose_arms(RunConfig(**values))]
        if arguments.baseline not in labels:
            raise unknown_name("measured format for --baseline", arguments.baseline, labels)
        values["baseline"] = arguments.baseline
    return RunConfig(**values), folder


def _default_formats(*, quiet: bool) -> tuple[str, ...]:
    """Return the formats that a run includes unasked; say which is left out because it cannot be used here."""
    found = []
    for listed in registry.listing("formats"):
        if listed.plugin is not None and listed.plugin.standing != "default":
            continue
        if listed.missing:
            reason = listed.missing if listed.plugin is None else f"The format {listed.name!r} {listed.missing}."
            show.say(f"Left out: {reason}", quiet=quiet)
        else:
            found.append(listed.name)
    return tuple(found)


def _all_suites() -> tuple[str, ...]:
    return tuple(
        suite.name for suite in sorted(map(load_suite, registry.names("suites")), key=lambda suite: suite.order)
    )


def _profile_files(paths: list[Path]) -> tuple[ProfileFile, ...]:
    files = tuple(read_profile_file(path) for path in paths)
    for number, file in enumerate(files):
        if file.name in (other.name for other in files[:number]):
            raise UsageError(f"Two profile files have the name {file.name!r}: change it in {paths[number]}.")
    return files


def _profiles(text: str) -> tuple[ProfileName, ...]:
    found: list[ProfileName] = []
    for name in names(text, "profile"):
        if name not in PROFILES:
            raise unknown_name("profile", name, PROFILES)
        found.append(name)
    return tuple(found)
