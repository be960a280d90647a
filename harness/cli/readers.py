"""Options of ``run`` that select readers, executors and stores, including those that extensions add."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from harness import registry
from harness.capacity import capacity
from harness.cli import terminal
from harness.cli.options import integers, names
from harness.errors import UsageError, unknown_name
from harness.run.config import RunConfig
from harness.run.store import ArchiveStore, store_of
from harness.sampling.executor import Executor, executors
from harness.suite import READERS, counted_as
from harness.workload import PlanOptions

_ALWAYS = 16  # number of workers that is allowed on any machine


def add_reading(parser: argparse.ArgumentParser, add: Callable[..., argparse.Action]) -> None:
    """Add the options, those of every installed executor and store too.

    Parameters
    ----------
    parser : ArgumentParser
        Of ``run``.
    add : callable
        Adds an option to a group, as one that a run that is continued has settled.
    """
    parallel = _parallel()
    aside = [executor.name for executor in parallel if not executor.unasked]
    default = f"all but {' and '.join(aside)}" if aside else "all"
    group = parser.add_argument_group("readers")
    add(group, "--readers", metavar="A,B", help="readers of each format: stock (the installed library's), best (the "
        "fastest of a race), all, or names from 'harness list readers' (default: stock,best)")  # fmt: skip
    add(group, "--workers", metavar="N,M",
        help="numbers of workers that read in parallel (default: those of the preset)")  # fmt: skip
    add(group, "--executors", metavar="A,B",
        help=f"kinds of workers: {', '.join(executor.name for executor in parallel)} (default: {default})")  # fmt: skip
    for executor in parallel:
        _add(group, executor.options)
    stores, group = _stores(), parser.add_argument_group("object store")
    known = f"endpoint and keys are those of {' or '.join(store.environment for store in stores)}"
    group.add_argument(
        "--store",
        metavar=" or ".join(store.address for store in stores) or "URL",
        help=f"read archives from there; {known if stores else 'needs an extension'} (default: a local disk)",
    )
    for store in stores:
        _add(group, store.options)


def _add(group: argparse._ActionsContainer, options: Mapping[str, tuple[str, str]]) -> None:
    for name, (metavar, text) in options.items():
        group.add_argument(f"--{name}", metavar=metavar, help=text)


def _parallel() -> list[Executor]:
    return [executor for executor in executors() if executor.parallel]


def _stores() -> list[type[ArchiveStore]]:
    return [registry.load("stores", name) for name in registry.names("stores")]


def _given(arguments: argparse.Namespace, options: Iterable[str]) -> dict[str, str]:
    values = {name: getattr(arguments, name.replace("-", "_"), None) for name in options}
    return {name: value for name, value in values.items() if value is not None}


def given_of_stores(arguments: argparse.Namespace) -> list[str]:
    """Return the names of the store options that were given."""
    return list(_given(arguments, (name for store in _stores() for name in ("store", *store.options))))


def chosen_store(arguments: argparse.Namespace, workers: Iterable[tuple[str, int]]) -> ArchiveStore | None:
    """Return the store that archives are read from, with its options; None for a local disk.

    Raises
    ------
    UsageError
        If it is not a store, its options are wrong, or other options do not go with it.
    """
    if arguments.store is None:
        for store in _stores():
            for name in _given(arguments, store.options):
                raise UsageError(f"--{name} is an option of the store --store {store.address}: add it.")
        return None
    if arguments.cache is not None:
        raise UsageError("--cache is about the page cache of this system, which reads from a --store do not use.")
    asked = {name for name, _ in workers}
    for executor in _parallel():
        if executor.name in asked and not executor.stores:
            kind = executor.worker[1]
            raise UsageError(f"{kind} read archives from a disk: leave out --store or the executor {executor.name}.")
    kind_of_store = store_of(arguments.store)
    return kind_of_store.parse(arguments.store, _given(arguments, kind_of_store.options))


def chosen_workers(arguments: argparse.Namespace, options: PlanOptions) -> PlanOptions:
    """Return the plan's options with the requested executors and numbers of workers."""
    if arguments.workers is None and arguments.executors is None:
        return options
    cores = capacity().cores_usable
    most = max(_ALWAYS, 4 * cores)
    counts = tuple({n: 0 for _, n in options.workers})
    if arguments.workers is not None:
        counts = integers(arguments.workers, "--workers")
    if max(counts) > most:
        raise UsageError(f"--workers may be at most {most} with the {cores} cores that this process may use.")
    known = {executor.name: executor for executor in _parallel()}
    chosen = names(arguments.executors, "executor") or tuple(name for name in known if known[name].unasked)
    for name in chosen:
        if name not in known:
            raise unknown_name("executor", name, known)
    workers = [(name, n) for name, executor in known.items() if name in chosen for n in counts if n >= executor.least]
    if not workers:
        raise UsageError("One worker does not share its reader: give --workers a number above 1.")
    return dataclasses.replace(options, workers=tuple(workers))


def chosen_settings(arguments: argparse.Namespace, workers: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Return the given options of executors; raise UsageError for an executor that the run does not have."""
    asked = {name for name, _ in workers}
    found: dict[str, str] = {}
    for executor in _parallel():
        given = _given(arguments, executor.options)
        if given and executor.name not in asked:
            option = next(iter(given))
            raise UsageError(f"--{option} is for the executor {executor.name}: add --executors {executor.name}.")
        found |= given
    return found


def require_same(config: RunConfig, arguments: argparse.Namespace) -> None:
    """Raise UsageError unless the typed executor settings are those of the run to continue, which is not trusted."""
    for option in (option for executor in _parallel() for option in executor.options):
        stored = config.settings.get(option)
        if stored != getattr(arguments, option.replace("-", "_")):
            wanted = f"leave out --{option}" if stored is None else f"repeat --{option} {stored}"
            raise UsageError(f"--resume reads through the {option} of the run and no other: {wanted}.")


def require_readers(config: RunConfig, *, quiet: bool) -> None:
    """Check the store and executors of a run before anything is written; print a note on more workers than cores."""
    if config.store is not None:
        config.store.require()
    asked = list(_asked(config))
    cores = capacity().cores_usable
    if many := {n for executor, n in asked if executor.here(config.settings) and n > cores}:
        numbers = ", ".join(map(str, sorted(many)))
        terminal.say(
            f"More workers ({numbers}) than cores ({cores}): these share cores, and cannot be {max(many)} times as "
            "fast as one.",
            quiet=quiet,
        )
    for executor in dict.fromkeys(executor for executor, _ in asked):
        executor.require(config.settings, max(n for one, n in asked if one is executor))


def _asked(config: RunConfig) -> Iterator[tuple[Executor, int]]:
    """Yield the executors of a run with each number of their workers; none if no suite reads in parallel."""
    if not {suite for suite, _ in counted_as(READERS)}.isdisjoint(config.suites):
        known = {executor.name: executor for executor in executors()}
        yield from ((known[name], n) for name, n in config.options.workers)


def resume_command(folder: Path, config: RunConfig, typed: str = "") -> str:
    """Return the command that continues a run, with the options to repeat because a folder is not trusted.

    `typed` are further options, beginning with a blank.
    """
    again = [f" {registry.OPTION[group]} {name}" for group, name in registry.allowed()]
    again += [f" --{option} {value}" for option, value in config.settings.items()]
    return f"harness run --resume --out {folder}{''.join(again)}{typed}"
