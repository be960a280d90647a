"""Planning: derive from a configuration the arms, and the traces with the accesses of all suites."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from harness.errors import HarnessError, UsageError, unknown_name
from harness.foreign.source import ImportedTrace
from harness.formats.base import Format, blame, load_format
from harness.formats.settings import ALTERED, Settings, named_profiles
from harness.records import CONTROL, RAW
from harness.run import schedule
from harness.run.config import RunConfig
from harness.run.subject import Arm, Subject
from harness.suite import load_suite
from harness.trace.first_layers import first_layers, layers_within
from harness.trace.manifest import Manifest
from harness.trace.schema import MOST_TENSORS
from harness.trace.sources import find_source, open_trace
from harness.trace.stream import MemoryTrace
from harness.workload import MOST_STEPS, Access, ReadAccess, count_steps, count_whole_reads

STOCK, BEST, ALL = "stock", "best", "all"
"""Values of ``--readers`` besides the names of readers."""

MOST_SUBJECTS = 1000
"""Maximum number of traces of a run; a trace counts once for each of its lengths."""


def choose_arms(config: RunConfig) -> list[Arm]:
    """List the contenders of a run, including candidates of races, the raw ceiling, and the baseline's A/A control.

    Parameters
    ----------
    config : RunConfig
        Names of formats, profiles, readers and the baseline.

    Returns
    -------
    list of Arm
        Without an A/A control if the baseline is not among the formats.

    Raises
    ------
    UsageError
        When a format cannot be used, two formats have the same name, a profile file is for none of the formats, or no
        format has a requested profile or reader.
    """
    arms: list[Arm] = []
    for name in config.formats:
        backend = load_format(name)
        label = backend.name
        if name == RAW:
            raise UsageError(f"{name!r} is measured in every run: leave it out.")
        if label in (RAW, CONTROL) or any(arm.label == label for arm in arms):
            raise UsageError(f"The format name {label!r} is taken; give the format of {name!r} a name of its own.")
        routes = config.store.routes(backend) if config.store else ()
        for column, profile in config.profiles_of(backend).items():
            arm = Arm(label, name, column, profile if isinstance(profile, Settings) else None, group=column)
            if routes or not config.readers or config.store:
                arms += _routes(arm, routes or ("",))
            else:
                arms += _contenders(arm, backend, config)
    for file in config.profile_files:
        if not any(arm.profile == file.name for arm in arms):
            made_for = ", ".join(settings.format for settings in file.settings)
            raise UsageError(f"The profile {file.name!r} is made for {made_for}, which the run does not measure.")
    for name in config.profiles:
        if not any(arm.profile == name for arm in arms):
            backends = [load_format(each) for each in config.formats]
            raise unknown_name("profile of the formats measured", name, named_profiles(*backends))
    if unknown := set(config.readers) - {STOCK, BEST, ALL} - {arm.reader for arm in arms if arm.always}:
        raise UsageError(
            f"None of the formats measured has a reader {min(unknown)!r}: 'harness list' names all readers."
        )
    arms.append(Arm(RAW, RAW, "", route="ranges" if config.store else "", threads=config.threads))
    return with_control(_sharing(arms), config)


def _routes(arm: Arm, routes: Sequence[str]) -> list[Arm]:
    """List an arm for each route to the store of the run; the first arm owns the archive."""
    return [
        dataclasses.replace(
            arm, label=arm.label if route in ("", "ranges") else f"{arm.label}-{route}", route=route,
            shares=route not in ("", "ranges"),
        )
        for route in routes
    ]  # fmt: skip


def _contenders(arm: Arm, backend: Format, config: RunConfig) -> list[Arm]:
    """List the contenders of a format in a profile: the stock reader, named readers, and candidates of races."""
    asked = set(config.readers)
    found: dict[tuple[str, str], Arm] = {}
    for name, spec in backend.readers.items():
        entered: Any = "stock" if name == backend.stock else "named" if asked & {name, ALL} else "raced"
        if entered == "stock" and not asked & {STOCK, ALL, name}:
            entered = "raced"
        about: dict[str, Any] = {
            "reader": name,
            "slim": backend.slim,
            "threads": config.threads,
            "missing": spec.missing(),
        }
        found["", name] = dataclasses.replace(arm, entered=entered, **about)
    raced = backend.candidates if BEST in asked else ()
    for alternative, name in raced:
        if alternative and (arm.profile != ALTERED or alternative in config.profiles):
            continue  # alternatives requested by name are measured anyway
        if (alternative, name) not in found:
            chosen = backend.alternative(alternative)  # type: ignore[attr-defined]
            found[alternative, name] = dataclasses.replace(
                found["", name], profile=alternative, chosen=chosen, entered="raced"
            )
        found[alternative, name] = dataclasses.replace(found[alternative, name], raced=True)
        if alternative and not found["", name].always:
            found["", name] = dataclasses.replace(found["", name], entered="between")
    return [each for each in found.values() if each.entered != "raced" or each.raced]


def _sharing(arms: Sequence[Arm]) -> list[Arm]:
    """Return the arms, of which all of a format and profile except the first share the first one's archive."""
    seen: set[tuple[str, str]] = set()
    found = []
    for arm in arms:
        written = (arm.backend, arm.profile)
        found.append(dataclasses.replace(arm, shares=True) if written in seen else arm)
        seen.add(written)
    return found


def with_control(arms: list[Arm], config: RunConfig) -> list[Arm]:
    """Return the arms and the A/A control: a copy of the baseline's first arm under another name."""
    original = [arm for arm in arms if arm.label == config.baseline and arm.always][:1]
    return arms + [dataclasses.replace(arm, label=CONTROL, shares=True, raced=False) for arm in original]


def open_subjects(config: RunConfig) -> list[Subject]:
    """Open every trace of a run at every length, and plan every suite on it, without generating tensors.

    Parameters
    ----------
    config : RunConfig
        Traces, sizes, suites, seed.

    Returns
    -------
    list of Subject
        In the order of the configuration.

    Raises
    ------
    UsageError
        When a trace or suite does not exist, or lacks something that it needs.
    HarnessError
        When the run exceeds a limit; see `bounded`.
    """
    asked = asked_traces(config)
    layers: dict[str, int] = {}  # by trace: the fewest that fit at any of its lengths, so that lengths are comparable
    if config.trace_bytes is not None:
        for text, n_res in asked:
            fitting = layers_within(open_trace(text, n_res).manifest, config.trace_bytes)
            layers[text] = min(layers.get(text, fitting), fitting)
    return list(bounded(_subject(config, text, n_res, layers.get(text)) for text, n_res in asked))


def bounded(subjects: Iterable[Subject]) -> Iterator[Subject]:
    """Yield the subjects of a run as they are planned, up to `MOST_STEPS` and `MOST_TENSORS` in total.

    Raises
    ------
    HarnessError
        When a limit is exceeded, so that no untrusted file can cause endless planning.
    """
    steps = tensors = 0
    for subject in subjects:
        steps += sum(count_steps(access) for _, access in subject.plans)
        tensors += len(subject.manifest.tensors)
        _require_few(steps)
        require_few_tensors(tensors)
        yield subject


def require_few_tensors(tensors: int) -> None:
    """Raise `HarnessError` if the traces of a run have more than `MOST_TENSORS` tensors in total."""
    if tensors > MOST_TENSORS:
        raise HarnessError(f"The traces of a run may hold at most {MOST_TENSORS} tensors together, not {tensors}.")


def _require_few(steps: int) -> None:
    if steps > MOST_STEPS:
        raise HarnessError(
            f"The plans of a run may have at most {MOST_STEPS} reads and tensors to write together, and these have "
            "more: ask for fewer traces, sizes, suites, workers or windows, or larger blocks."
        )


def asked_traces(config: RunConfig) -> list[tuple[str, int | None]]:
    """List the requested traces of a run, each with each of its requested lengths; None for a fixed length.

    Raises
    ------
    HarnessError
        When there are more than `MOST_SUBJECTS`, or the source of a trace is unknown.
    """
    asked = list(islice(_expand(config), MOST_SUBJECTS + 1))
    if len(asked) > MOST_SUBJECTS:
        raise HarnessError(f"A run may measure at most {MOST_SUBJECTS} traces; name fewer traces or sizes.")
    return asked


def _expand(config: RunConfig) -> Iterator[tuple[str, int | None]]:
    for text in config.traces:
        source, parameters = find_source(text)
        fixed = not source.sized or any(p.startswith("n_res=") for p in parameters.split(","))
        for n_res in (None,) if fixed else config.sizes:
            yield text, n_res


def _subject(config: RunConfig, text: str, requested: int | None, layers: int | None) -> Subject:
    trace = open_trace(text, requested)
    measured = trace if layers is None else first_layers(trace, layers)
    subject = plan_subject(config, text, measured.label, requested, measured.manifest)
    subject = dataclasses.replace(
        subject, layers=layers, files=trace.states if isinstance(trace, ImportedTrace) else None
    )
    return dataclasses.replace(subject, held=trace) if isinstance(trace, MemoryTrace) else subject


def plan_subject(config: RunConfig, text: str, label: str, requested: int | None, manifest: Manifest) -> Subject:
    """Plan every suite of a run on a trace; plans depend only on the manifest, the run's options and its seed.

    Parameters
    ----------
    config : RunConfig
        Suites, options, seed.
    text, label : str
        The trace as requested, and its name in records.
    requested : int or None
        The requested length, for traces that can be generated in any length.
    manifest : Manifest
        Manifest of the trace.

    Returns
    -------
    Subject
        Deterministic: equal arguments give equal subjects.

    Raises
    ------
    UsageError
        When two suites have the same name, or a read does not fit the manifest.
    HarnessError
        When there are more than `MOST_STEPS` reads and tensors to write; blocks are counted before they are planned.
    """
    _require_few(count_whole_reads(manifest, config.options))
    plans: list[tuple[str, Access]] = []
    for name in config.suites:
        suite = load_suite(name)
        if any(known == suite.name for known, _ in plans):
            raise UsageError(f"The suite name {suite.name!r} is taken; give the suite {name!r} a name of its own.")
        rng = schedule.generator(config.seed, suite.name, label, requested)
        with blame(f"the suite {suite.name}", f"planning for {label}"):
            planned = [(suite.name, access) for access in suite.plan(manifest, rng, config.options)]
            for _, access in planned:
                if isinstance(access, ReadAccess):
                    access.check(suite.name, manifest)
            plans += planned
        _require_few(sum(count_steps(access) for _, access in plans))
    return Subject(text, label, manifest.length, requested, manifest, tuple(plans))
