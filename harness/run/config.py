"""The configuration of a run, and its file ``run.json``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from harness import registry
from harness.documents import Count, Figure, Name, Positive, decode, read_document
from harness.files import write_text
from harness.formats.base import Format, Profile
from harness.formats.profile_file import ProfileFile, parse_profile_file
from harness.formats.settings import named_profiles, profile_of
from harness.run.presets import PRESETS, STANDARD
from harness.run.store import ArchiveStore, store_of
from harness.sampling.executor import Settings, executors, load_executor
from harness.workload import Cache, Number, PlanOptions

_VERSION = 1
_EARLIER_PARALLEL_BYTES = 256 << 20  # `PlanOptions.parallel_bytes` of runs that did not record it
# `save` omits these fields if unset, so that earlier versions can read the file.
_LATER = ("store", "profile_files", "trace_bytes", "measurements", "readers", "threads", "cache_bytes")
_LATER_OPTIONS = ("parallel_windows", "parallel", "whole_bytes", "block_bytes", "name_rest", "by_bytes")

SLOWEST = 25e6
"""Slowest accepted speed of a format in bytes per second; large traces get a longer time limit accordingly."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run measures."""

    run_id: Name  # Name of the run, and of its folder.
    preset: str  # The preset it is based on.
    traces: tuple[str, ...]  # ``NAME[:key=value,...]``.
    sizes: tuple[Number, ...]  # Sequence lengths, for traces that can be generated in any length.
    formats: tuple[str, ...]  # Registered names or ``module:Class``.
    # Names of settings: those that every format has, and those of single formats, which apply only to that format.
    profiles: tuple[Name, ...]
    suites: tuple[str, ...]  # Registered names.
    caches: tuple[Cache, ...]  # Cache states for reads.
    rounds: Annotated[int, msgspec.Meta(ge=1, le=10_000)]  # Samples per cell.
    seed: Count = 0  # Determines plans and the order within rounds.
    # The format that ratios refer to; it also runs a second time as the A/A control.
    baseline: str = PRESETS[STANDARD]["baseline"]
    timeout: Figure = 600.0  # Seconds after which a sample of a small trace counts as hung; see `patience`.
    options: PlanOptions = field(default_factory=PlanOptions)  # Options that plans may depend on.
    # Further profiles, each for the formats that it names; their texts are part of the configuration.
    profile_files: tuple[ProfileFile, ...] = ()
    # The object store that archives are read from; None to read them from the run's folder.
    store: ArchiveStore | None = None
    # Values of the executors' own options; in the file, top-level fields like the others.
    settings: Settings = field(default_factory=dict)
    # Maximum bytes of a trace's tensors; of a larger trace only the first layers are measured. None for no limit.
    trace_bytes: Positive | None = None
    # Requests to measurements of extensions, by their names, as plain values.
    measurements: dict[str, Any] = field(default_factory=dict)
    # ``stock``, ``best``, ``all``, or names of readers; empty for the first reader of each format, and no race.
    readers: tuple[Name, ...] = ()
    threads: Positive | None = None  # Budget of threads of every contender; None for no limit.
    # Budget in bytes of decoded chunks that an open reader may keep; None for each library's default.
    cache_bytes: Count | None = None
    # Whether each format's best is raced in every cache state; earlier runs raced the first state for all.
    race_each_state: bool = True
    # Whether it is raced by every executor, with its largest number of workers; earlier runs raced the first for all.
    race_each_executor: bool = True

    def patience(self, nbytes: int) -> float:
        """Return the seconds after which a sample counts as hung, if the run's largest trace has `nbytes` bytes."""
        return self.timeout + nbytes / SLOWEST

    @property
    def profile_names(self) -> tuple[str, ...]:
        """The requested profiles, as in the ``profile`` column; other values there are settings that were raced."""
        return (*self.profiles, *(file.name for file in self.profile_files))

    def profiles_of(self, backend: Format) -> dict[str, Profile]:
        """Return the profiles in which a format is measured, by their names in the ``profile`` column of records."""
        files = {file.name: file.of(backend) for file in self.profile_files}
        known = named_profiles(backend)
        own = {name: profile_of(backend, name) for name in self.profiles if name in known}
        return {**own, **{name: found for name, found in files.items() if found}}

    def save(self, path: Path) -> None:
        """Write the configuration as JSON."""
        document = {"config_version": _VERSION, **dataclasses.asdict(self), **self.settings}
        document["profile_files"] = [file.text for file in self.profile_files]
        options = document["options"]
        if options["parallel_windows"] is None and options["parallel_bytes"] == PlanOptions.parallel_bytes:
            del options["parallel_bytes"]
        for name in ("settings", *(name for name in _LATER if document[name] in (None, (), [], {}))):
            del document[name]
        if not self.readers:
            del document["race_each_state"], document["race_each_executor"]
        for name in _LATER_OPTIONS:
            if options[name] == getattr(PlanOptions, name):
                del options[name]
        write_text(path, json.dumps(document, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read a file written by `save`.

        Raises
        ------
        HarnessError
            When the file is missing or damaged, or its version is unknown to this reader.
        """
        absent = f"There is no run at {path.parent}: it has no {path.name}."
        document = read_document(path, dict[str, Any], version=("config_version", _VERSION), absent=absent)
        own = [option for executor in executors() for option in executor.options]
        known = {field.name for field in dataclasses.fields(_Stored)} - {"settings"} | {"config_version", *own}
        others = {name: document.pop(name) for name in sorted(set(document) - known)}
        document["settings"] = {
            name: decode(json.dumps(value), str, f"{path} at $.{name}")
            for name in own
            if (value := document.pop(name, None)) is not None
        }
        if isinstance(options := document.get("options"), dict) and options.get("parallel_windows") is not None:
            options.setdefault("parallel_bytes", _EARLIER_PARALLEL_BYTES)
        stored = decode(json.dumps(document), _Stored, path, version=("config_version", _VERSION))
        for executor, _ in stored.options.workers:
            load_executor(executor)
        found = {field.name: getattr(stored, field.name) for field in dataclasses.fields(cls)}
        found["profile_files"] = tuple(
            parse_profile_file(text, f"a profile file of {path}") for text in stored.profile_files
        )
        for name in ("race_each_state", "race_each_executor"):
            if found[name] is None:
                found[name] = not stored.readers
        if stored.store is not None:
            kind = store_of(str(stored.store.get("url")))
            found["store"] = decode(json.dumps(stored.store), kind, f"{path} at $.store")
        # Files of earlier versions have some requests to measurements in other fields.
        for each in registry.usable("measurements"):
            if part := each.earlier(others):
                found["measurements"] = {**found["measurements"], each.name: part}
        # The remaining fields may belong to a measurement that is not installed, in any form.
        found["measurements"] |= {
            name: value if isinstance(value, dict) else {name: value} for name, value in others.items() if value
        }
        return cls(**found)


@dataclass(frozen=True, kw_only=True)
class _Stored(RunConfig):
    """A configuration as stored in its file; `RunConfig.read` parses the store and the profile files separately."""

    options: PlanOptions
    settings: dict[str, str]
    store: dict[str, Any] | None = None  # type: ignore[assignment]
    profile_files: tuple[str, ...] = ()  # type: ignore[assignment]
    race_each_state: bool | None = None  # type: ignore[assignment]
    race_each_executor: bool | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name in ("formats", "profiles", "suites", "caches", "readers"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"Expected each of the {name} once")
