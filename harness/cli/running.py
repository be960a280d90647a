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
from harness.capacity import capacity
from harness.cli import closing, show
from harness.cli.folders import held
from harness.cli.options import add_max_inflated, add_plugins, integers, names
from harness.errors import MachineError, UsageError, cause_of, unknown_name
from harness.extensions.dask.cluster import require_workers
from harness.extensions.object_store.faults import FAULTS, parse_fault
from harness.extensions.object_store.place import FILE_CACHES, Place, parse_place
from harness.extensions.object_store.uploads import require_store
from harness.extensions.result_directories.measuring import Directory, open_directories
from harness.extensions.result_directories.slimming import parse_bound
from harness.formats.base import PROFILES, ProfileName, load_format
from harness.formats.describing import ReadsWhole
from harness.formats.profile_file import ProfileFile, read_profile_file
from harness.report.write import write_plots, write_report
from harness.run.config import PRESETS, RunConfig
from harness.run.machine import describe, read_environment
from harness.run.plan import save_plan
from harness.run.run import run
from harness.run.space import Space, require_space
from harness.run.subject import Arm, Subject, choose_arms, open_subjects
from harness.run.turns import require_few_rows
from harness.sampling.interrupt import exit_code
from harness.workload import Cache, Executor, PlanOptions, Suite

_CACHES: dict[str, tuple[Cache, ...]] = {"warm": ("warm",), "cold": ("cold",), "both": ("warm", "cold")}
_EXECUTORS: tuple[Executor, ...] = ("threads", "threads-shared", "processes", "dask")
_ALWAYS = 8  # workers that may be asked for on any machine
_MEASURING = (
    "preset", "trace", "formats", "suites", "sizes", "profile", "profile_file", "cache", "workers",
    "executors", "scheduler", "rounds",
    "seed", "baseline", "timeout", "directory", "directory_bound", "trace_bytes",
    "store", "store_latency", "store_bandwidth", "store_fault", "store_cache",
)  # fmt: skip


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.description = "Measure formats on traces."
    add = parser.add_argument
    add("--preset", metavar="NAME", help=f"{', '.join(PRESETS)}; the options below change it (default: standard)")
    add("--trace", action="append", metavar="NAME[:key=value,...]", help="a trace; repeatable")
    add("--directory", action="append", metavar="DIR", help="a result directory of AlphaFold to slim a copy of; "
        "repeatable; alone, or beside traces that --trace names")  # fmt: skip
    add("--directory-bound", metavar="ANGSTROM", help="slim it in mode minimal too, within this error")
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
    add("--store", metavar="s3://BUCKET/PREFIX", help="read archives from an object store; endpoint and keys are those "
        "of AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")  # fmt: skip
    add("--store-latency", metavar="MS", help="add this to each request, in milliseconds, with a proxy on loopback")
    add("--store-bandwidth", metavar="MB/S", help="limit what is read to so many megabytes per second, with that proxy")
    add("--store-fault", metavar="KIND", help=f"let it do this wrong: {', '.join(FAULTS)}; KIND:every=N for how often")
    add("--store-cache", metavar="TYPE[:KIB]", help="fsspec's cache for files in the store, and its blocks: "
        f"{', '.join(FILE_CACHES)} (default: blockcache:1024)")  # fmt: skip
    add("--workers", metavar="N,M", help="numbers of threads and processes in parallel_access")
    add("--executors", metavar="A,B", help=f"who reads there: {', '.join(_EXECUTORS)} (default: all but dask)")
    add("--scheduler", metavar="ADDRESS", help="Dask scheduler for the executor dask (default: a local cluster)")
    add("--rounds", metavar="N", help=f"samples per cell; a verdict needs {VERDICT_ROUNDS}")
    add("--seed", metavar="N", help="decides plans and order (default: 0)")
    add("--baseline", metavar="FORMAT", help="the format that ratios refer to (default: zarr)")
    add("--timeout", metavar="SECONDS", help="after which a sample counts as hung, and 1 s more for every 25 MB of the "
        "largest trace (default: 600)")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="the run's folder (default: results/<time>-<preset>)")
    add("--resume", action="store_true", help="continue the run in --out with its own settings")
    add("--quiet", action="store_true", help="print nothing but errors")
    add_max_inflated(parser)
    parser.set_defaults(command=_run)


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``plot``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    add_plugins(parser)
    parser.set_defaults(command=_plot)


def _run(arguments: argparse.Namespace) -> int:
    config, folder = _continued(arguments) if arguments.resume else _new(arguments)
    arms = choose_arms(config)  # before the folder is made, so that a wrong name leaves nothing behind
    subjects, directories = open_subjects(config), open_directories(config)
    require_few_rows(config, len(arms), subjects)
    if config.store is not None:
        require_store(config.store)
    _say_workers(config, quiet=arguments.quiet)
    tell = partial(show.say, quiet=arguments.quiet)
    with ExitStack() as stack:
        if arguments.resume:
            stack.enter_context(held(folder))
            _require_same_machine(folder)
        disk = require_space(folder, subjects, arms, directories, timeout=config.timeout, tell=tell)
        tell(str(disk))
        if not arguments.resume:
            stack.enter_context(held(folder, new=True))
            config.save(folder / "run.json")
        stack.enter_context(continuable(folder))
        code = measure(config, arms, subjects, directories, folder, disk, quiet=arguments.quiet)
        written = write_report(folder, find_options(folder), pictures=True)
    if not arguments.quiet:
        closing.tables(written, config)
        closing.where(folder, written)
    if code:
        return code
    return closing.failures(written.cells, folder)


def measure(
    config: RunConfig,
    arms: list[Arm],
    subjects: list[Subject],
    directories: list[Directory],
    folder: Path,
    disk: Space | None = None,
    *,
    quiet: bool,
) -> int:
    """Take every sample of a run, with its plan beside them.

    Parameters
    ----------
    config, arms, subjects, directories, disk
        As for `harness.run.run.run`.
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
            run(config, arms, subjects, folder, progress, directories, disk)
        except KeyboardInterrupt as error:
            show.complain(f"Interrupted; what was measured is kept. {_onward(folder)}")
            return exit_code(error)
    return 0


@contextmanager
def continuable(folder: Path) -> Iterator[None]:
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
            f"{_onward(folder)}"
        ) from error


def _onward(folder: Path) -> str:
    return f"Continue with: harness run --resume --out {folder}"


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
    given = [name for name in _MEASURING if getattr(arguments, name) is not None and name != "scheduler"]
    if given:
        raise UsageError(f"--resume continues with the run's own settings: leave out --{given[0].replace('_', '-')}.")
    if arguments.out is None:
        raise UsageError("--resume needs the folder of the run to continue: --out DIR.")
    config = RunConfig.read(arguments.out / "run.json")
    if config.scheduler != arguments.scheduler:  # its answers are unpickled, so a folder's word is not enough
        wanted = "leave out --scheduler" if config.scheduler is None else f"repeat --scheduler {config.scheduler}"
        raise UsageError(f"--resume reads through the scheduler of the run and no other: {wanted}.")
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
    values["store"] = _store(arguments)
    values["options"] = _workers(values["options"], arguments.workers, arguments.executors)
    reads_whole = any(isinstance(load_format(name), ReadsWhole) for name in values["formats"])
    if values["options"].parallel_windows and not reads_whole:
        values["options"] = dataclasses.replace(values["options"], parallel_bytes=None)
    if arguments.scheduler is not None:
        if "dask" not in dict(values["options"].workers):
            raise UsageError("--scheduler is for the executor dask: add --executors dask.")
        values["scheduler"] = arguments.scheduler
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


def _store(arguments: argparse.Namespace) -> Place | None:
    """Return the store that archives are read from, with what is put in between."""
    shaping = ("store_latency", "store_bandwidth", "store_fault", "store_cache")
    if arguments.store is None:
        for name in shaping:
            if getattr(arguments, name) is not None:
                raise UsageError(
                    f"--{name.replace('_', '-')} is about the store of --store s3://BUCKET/PREFIX: add it."
                )
        return None
    if arguments.cache is not None:
        raise UsageError("--cache is about the page cache of this system, which plays no part in reads from a --store.")
    if "dask" in (arguments.executors or "").split(","):
        raise UsageError(
            "Dask workers read archives from a disk that they see: leave out --store or the executor dask."
        )
    place = parse_place(arguments.store)
    values: dict[str, Any] = {}
    if arguments.store_latency is not None:
        (values["latency_ms"],) = integers(arguments.store_latency, "--store-latency", single=True, least=0)
    if arguments.store_bandwidth is not None:
        (megabytes,) = integers(arguments.store_bandwidth, "--store-bandwidth", single=True)
        values["bandwidth"] = megabytes * 1e6
    if arguments.store_fault is not None:
        parse_fault(arguments.store_fault)
        values["fault"] = arguments.store_fault
    if arguments.store_cache is not None:
        values["file_cache"], _, block = arguments.store_cache.partition(":")
        if values["file_cache"] not in FILE_CACHES:
            raise unknown_name("cache for --store-cache", values["file_cache"], FILE_CACHES)
        if block:
            values["block_bytes"] = 1024 * integers(block, "--store-cache", single=True)[0]
    return dataclasses.replace(place, **values)


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


def _workers(options: PlanOptions, numbers: str | None, executors: str | None) -> PlanOptions:
    """Return the options with the parallel configurations that were asked for."""
    if numbers is None and executors is None:
        return options
    cores = capacity().cores_usable
    most = max(_ALWAYS, 4 * cores)
    counts = integers(numbers, "--workers") if numbers is not None else tuple({n: 0 for _, n in options.workers})
    if max(counts) > most:
        raise UsageError(f"--workers may be at most {most} with the {cores} cores that this process may use.")
    chosen = names(executors, "executor") or _EXECUTORS[:-1]
    for name in chosen:
        if name not in _EXECUTORS:
            raise unknown_name("executor", name, _EXECUTORS)
    workers = [(name, n) for name in _EXECUTORS if name in chosen for n in counts if n > 1 or name != "threads-shared"]
    if not workers:
        raise UsageError("One worker shares its reader with nobody: give --workers a number above 1.")
    return dataclasses.replace(options, workers=tuple(workers))


def _say_workers(config: RunConfig, *, quiet: bool) -> None:
    """Check what reads with Dask need, and say when there are more workers than cores."""
    asked = dict.fromkeys(n for _, n in config.options.workers) if "parallel_access" in config.suites else {}
    cores = capacity().cores_usable
    if many := [n for n in asked if n > cores and config.scheduler is None]:
        numbers = ", ".join(map(str, sorted(many)))
        show.say(f"More workers ({numbers}) than cores ({cores}): these share cores, and cannot be {max(many)} times "
                 "as fast as one.", quiet=quiet)  # fmt: skip
    if asked and (of_dask := [n for executor, n in config.options.workers if executor == "dask"]):
        require_workers(config.scheduler, max(of_dask))
