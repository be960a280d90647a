"""The commands that measure and draw: ``run`` and ``plot``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
from pathlib import Path
from typing import Any

from harness import registry
from harness.backends.base import PROFILES, ProfileName
from harness.backends.profile_file import ProfileFile, read_profile_file
from harness.cli import show
from harness.cli.options import integers, names
from harness.errors import UsageError, unknown_name
from harness.measure.config import PRESETS, VERDICT_ROUNDS, RunConfig
from harness.measure.directories import Directory, open_directories
from harness.measure.experiment import run
from harness.measure.ledger import ledger
from harness.measure.machine import describe
from harness.measure.plan import save_plan
from harness.measure.space import require_space
from harness.measure.subject import Arm, Subject, choose_arms, open_subjects
from harness.predictions.slimming import parse_bound
from harness.report.findings import find_options
from harness.report.noise import mixed_machines
from harness.report.write import write_plots, write_report, write_table
from harness.workload import Cache, Executor, PlanOptions, Suite

_CACHES: dict[str, tuple[Cache, ...]] = {"warm": ("warm",), "cold": ("cold",), "both": ("warm", "cold")}
_MEASURING = (
    "preset", "trace", "formats", "backend", "suites", "sizes", "profile", "profile_file", "cache", "workers", "rounds",
    "seed", "baseline", "timeout", "directory", "directory_bound", "trace_bytes",
)  # fmt: skip


def add_commands(commands: Any) -> None:
    """Add ``run`` and ``plot`` to the parser."""
    parser = commands.add_parser("run", help="measure formats on traces", description="Measure formats on traces.")
    add = parser.add_argument
    add("--preset", metavar="NAME", help=f"{', '.join(PRESETS)}; the options below change it (default: standard)")
    add("--trace", action="append", metavar="NAME[:key=value,...]", help="a trace; repeatable")
    add("--directory", action="append", metavar="DIR", help="a result directory of AlphaFold to slim a copy of; "
        "repeatable; alone, or beside traces that --trace names")  # fmt: skip
    add("--directory-bound", metavar="ANGSTROM", help="slim it in mode minimal too, within this error")
    add("--formats", metavar="A,B", help="formats to compare")
    add("--backend", action="append", metavar="MODULE:CLASS", help="a format of your own, besides; repeatable")
    add("--suites", metavar="A,B", help="suites to run")
    add("--sizes", metavar="N,M", help="sequence lengths (residues) of synthetic traces")
    add("--trace-bytes", metavar="N", help="measure only as many of a trace's first layers as fit in so many bytes, "
        "as many at every length; the trace's name then says so")  # fmt: skip
    add("--profile", metavar="A,B", help=f"settings of the formats: {', '.join(PROFILES)}")
    add(
        "--profile-file", action="append", type=Path, metavar="FILE",
        help="a further profile, as 'harness tune' writes one; repeatable",
    )  # fmt: skip
    add("--cache", metavar="STATE", help="page cache before reads: warm, cold or both")
    add("--workers", metavar="N,M", help="numbers of threads and processes in parallel_access")
    add("--rounds", metavar="N", help=f"samples per cell; a verdict needs {VERDICT_ROUNDS}")
    add("--seed", metavar="N", help="decides plans and order (default: 0)")
    add("--baseline", metavar="FORMAT", help="the format that ratios refer to (default: zarr)")
    add("--timeout", metavar="SECONDS", help="after which a sample counts as hung (default: 600)")
    add("--out", type=Path, metavar="DIR", help="the run's folder (default: results/<time>-<preset>)")
    add("--resume", action="store_true", help="continue the run in --out with its own settings")
    add("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(command=_run)
    parser = commands.add_parser("plot", help="summarise a run again and redraw its plots")
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.set_defaults(command=_plot)


def _run(arguments: argparse.Namespace) -> int:
    config, folder = _continued(arguments) if arguments.resume else _new(arguments)
    arms = choose_arms(config)  # before the folder is made, so that a wrong name leaves nothing behind
    subjects, directories = open_subjects(config), open_directories(config)
    show.say(str(require_space(folder, subjects, arms, directories)), quiet=arguments.quiet)
    if arguments.resume:
        _require_same_machine(folder)
    else:
        make_folder(folder)
        config.save(folder / "run.json")
    interrupted = not measure(config, arms, subjects, directories, folder, quiet=arguments.quiet)
    written = write_report(folder, find_options(folder), pictures=True)
    if not arguments.quiet:
        show.closing(written, config)
        show.where(folder, written, interrupted)
    if interrupted:
        return 130
    return show.failures(written.cells)


def measure(
    config: RunConfig,
    arms: list[Arm],
    subjects: list[Subject],
    directories: list[Directory],
    folder: Path,
    *,
    quiet: bool,
) -> bool:
    """Take every sample of a run, with its plan and its ledger beside them.

    Parameters
    ----------
    config, arms, subjects, directories
        As for `harness.measure.experiment.run`.
    folder : Path
        The run's folder; holds ``run.json``.
    quiet : bool
        Show no progress.

    Returns
    -------
    bool
        False when Ctrl-C ended it early.
    """
    save_plan(subjects, folder / "plan.json")
    manifests = [(subject.label, subject.manifest) for subject in subjects]
    write_table(ledger(manifests, config), folder / "ledger.csv")
    with show.progress(quiet=quiet) as progress:
        try:
            run(config, arms, subjects, folder, progress, directories)
        except KeyboardInterrupt:
            return False
    return True


def _require_same_machine(folder: Path) -> None:
    """Refuse to continue a run on another machine: its verdicts would mix the two."""
    path = folder / "environment.json"
    if path.exists():
        environment = json.loads(path.read_text())
        environment["sessions"].append(describe(folder))
        if differs := mixed_machines(environment):
            raise UsageError(f"{folder} was measured elsewhere: {differs.rstrip('.')}. Start a new run here.")


def _plot(arguments: argparse.Namespace) -> int:
    for path in write_plots(arguments.run):
        print(path)
    return 0


def _continued(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    given = [name for name in _MEASURING if getattr(arguments, name) is not None]
    if given:
        raise UsageError(f"--resume continues with the run's own settings: leave out --{given[0].replace('_', '-')}.")
    if arguments.out is None:
        raise UsageError("--resume needs the folder of the run to continue: --out DIR.")
    return RunConfig.read(arguments.out / "run.json"), arguments.out


def _new(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    name = arguments.preset or "standard"
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    values: dict[str, Any] = dict(PRESETS[name])
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder: Path = arguments.out or Path("results") / f"{stamp}-{name}"
    formats = names(arguments.formats, "format") or tuple(
        listed.name for listed in registry.listing("backends") if getattr(listed.plugin, "standing", "") == "default"
    )
    values.update(
        run_id=folder.resolve().name,
        preset=name,
        formats=formats + tuple(arguments.backend or ()),
        suites=names(arguments.suites, "suite") or _all_suites(),
    )
    if arguments.trace:
        values["traces"] = tuple(arguments.trace)
    values.update(_directories(arguments))
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
    if arguments.workers is not None:
        counts = integers(arguments.workers, "--workers")
        values["options"] = _with_workers(values["options"], counts)
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


def _directories(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what result directories change; they are measured alone, unless traces are named too."""
    if not arguments.directory:
        if arguments.directory_bound is not None:
            raise UsageError("--directory-bound is the error that slimming may make in a --directory: name one.")
        return {}
    values: dict[str, Any] = {"directories": tuple(arguments.directory)}
    if arguments.directory_bound is not None:
        values["directory_bound"] = parse_bound(arguments.directory_bound, "--directory-bound")
    return values if arguments.trace else {**values, "traces": ()}


def _all_suites() -> tuple[str, ...]:
    suites: list[Suite] = [registry.load("suites", name) for name in registry.names("suites")]
    return tuple(suite.name for suite in sorted(suites, key=lambda suite: suite.order))


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


def _with_workers(options: PlanOptions, counts: tuple[int, ...]) -> PlanOptions:
    most = 4 * (os.cpu_count() or 1)
    if max(counts) > most:
        raise UsageError(f"--workers may be at most {most} on this machine with {os.cpu_count()} cores.")
    workers: list[tuple[Executor, int]] = [("threads", n) for n in counts]
    workers += [("threads-shared", n) for n in counts if n > 1]
    workers += [("processes", n) for n in counts]
    return dataclasses.replace(options, workers=tuple(workers))


def make_folder(folder: Path) -> None:
    """Make a run's folder.

    Raises
    ------
    UsageError
        When it exists with something in it, or cannot be written to.
    """
    if (folder / "run.json").exists():
        raise UsageError(f"{folder} holds a run already: continue it with --resume, or choose another --out.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder: choose another --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".probe").touch()
        (folder / ".probe").unlink()
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to ({error.strerror}): choose another --out.") from error
