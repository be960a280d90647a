"""What a run is asked to do: its configuration, the presets, and their file."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from harness.documents import Count, Figure, Name, Positive, decode, read_document
from harness.files import write_text
from harness.formats.base import Format, Profile, ProfileName
from harness.formats.profile_file import ProfileFile, parse_profile_file
from harness.run.store import ArchiveStore, store_of
from harness.sampling.executor import Settings, executors, load_executor
from harness.workload import Cache, Number, PlanOptions

CONFIG_VERSION = 1
_EARLIER_PARALLEL_BYTES = 256 << 20  # of a run from before this was recorded: `PlanOptions.parallel_bytes`

SLOWEST = 25e6
"""Bytes a second; a format may be as slow as this, and is then not taken to hang on a trace of many gigabytes."""


def _presets() -> dict[str, dict[str, Any]]:
    """Read ``presets.toml``: fields of `RunConfig` by the name of the preset."""
    found = tomllib.loads(Path(__file__).with_name("presets.toml").read_text())
    for values in found.values():
        values["options"] = msgspec.convert(values["options"], PlanOptions)
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return found


PRESETS = _presets()


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run measures.

    Attributes
    ----------
    run_id : str
        Name of the run, and of its folder.
    preset : str
        The preset it started from.
    traces : tuple of str
        ``NAME[:key=value,...]``.
    sizes : tuple of int
        Sequence lengths, for traces that are made in any length.
    formats : tuple of str
        Registered names or ``module:Class``.
    profiles : tuple of str
        Settings of the formats, of those that every format knows by name.
    profile_files : tuple of ProfileFile
        Further ones, each for the formats that it names; their texts are part of the configuration.
    suites : tuple of str
        Registered names.
    caches : tuple of str
        Cache states for reads.
    rounds : int
        Samples per cell.
    seed : int
        Decides plans and the order within rounds.
    baseline : str
        The format that ratios refer to, and the one that runs twice as the A/A arm.
    timeout : float
        Seconds after which a sample of a small trace counts as hung; see `patience`.
    options : PlanOptions
        What plans may depend on.
    trace_bytes : int or None
        The most that the tensors of a trace may take; of a larger one only the first layers are measured. None for all.
    store : ArchiveStore or None
        The object store that archives are read from; None to read them from the run's folder.
    settings : mapping of str to str
        What is given of the executors' own options; in the file, fields beside the others.
    measurements : dict of str to object
        What is asked of measurements of extensions, by their names, as plain values.
    """

    run_id: Name
    preset: str
    traces: tuple[str, ...]
    sizes: tuple[Number, ...]
    formats: tuple[str, ...]
    profiles: tuple[ProfileName, ...]
    suites: tuple[str, ...]
    caches: tuple[Cache, ...]
    rounds: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    seed: Count = 0
    baseline: str = PRESETS["standard"]["baseline"]
    timeout: Figure = 600.0
    options: PlanOptions = field(default_factory=PlanOptions)
    profile_files: tuple[ProfileFile, ...] = ()
    store: ArchiveStore | None = None
    settings: Settings = field(default_factory=dict)
    trace_bytes: Positive | None = None
    measurements: dict[str, Any] = field(default_factory=dict)

    def patience(self, nbytes: int) -> float:
        """Return the seconds after which a sample counts as hung, in a run whose largest trace has so many bytes."""
        return self.timeout + nbytes / SLOWEST

    def profiles_of(self, backend: Format) -> dict[str, Profile]:
        """Return the profiles that a format is measured in, by the ``profile`` column of records."""
        files = {file.name: file.of(backend) for file in self.profile_files}
        return {**{name: name for name in self.profiles}, **{n: found for n, found in files.items() if found}}

    def save(self, path: Path) -> None:
        """Write as JSON."""
        document = {"config_version": CONFIG_VERSION, **dataclasses.asdict(self)}
        if not self.measurements:
            del document["measurements"]
        if self.store is None:
            del document["store"]
        if self.options.parallel_windows is None:
            del document["options"]["parallel_windows"], document["options"]["parallel_bytes"]
        document |= document.pop("settings")
        del document["profile_files"]
        if self.trace_bytes is None:
            del document["trace_bytes"]
        for name in ("whole_bytes", "block_bytes"):
            if getattr(self.options, name) == getattr(PlanOptions, name):
                del document["options"][name]
        if self.profile_files:  # a run without any is one that earlier versions can read
            document["profile_files"] = [file.text for file in self.profile_files]
        write_text(path, json.dumps(document, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Read what `save` wrote.

        Raises
        ------
        HarnessError
            When there is none, it is damaged, or of a version this reader does not know.
        """
        absent = f"There is no run at {path.parent}: it has no {path.name}."
        options = [option for executor in executors() for option in executor.options]
        kind: type[_Stored] = dataclasses.make_dataclass(
            "Stored", [(name, str | None, None) for name in options], bases=(_Stored,), frozen=True, kw_only=True
        )
        stored = read_document(path, kind, version=("config_version", CONFIG_VERSION), absent=absent)
        files = tuple(parse_profile_file(text, f"a profile file of {path}") for text in stored.profile_files)
        for executor, _ in stored.options.workers:
            load_executor(executor)
        changed = {
            "profile_files": files,
            "options": PlanOptions(**_fields(stored.options, PlanOptions)),
            "store": None if stored.store is None else _store(stored.store, path),
            "settings": {name: given for name in options if (given := getattr(stored, name)) is not None},
        }
        if stored.directories:
            earlier = {key: getattr(stored, name) for name, key in _EARLIER.items()}
            changed["measurements"] = {_DIRECTORIES: {k: v for k, v in earlier.items() if v is not None}}
        return cls(**_fields(stored, cls) | changed)


_DIRECTORIES = "result-directories"
_EARLIER = {"directories": "directories", "directory_bound": "bound", "directory_modes": "modes"}
"""Fields that `run.json` of earlier versions has at its top, by their names in the part of the measurement."""


def _fields(stored: Any, kind: type) -> dict[str, Any]:
    """Return a decoded dataclass's fields of its kind; those that its file left out are not its own attributes."""
    return {field.name: getattr(stored, field.name) for field in dataclasses.fields(kind)}


def _store(document: dict[str, Any], path: Path) -> ArchiveStore:
    """Decode what a file holds of a store into that of its URL."""
    return decode(json.dumps(document), store_of(str(document.get("url"))), f"{path} at $.store")


@dataclass(frozen=True, kw_only=True)
class _StoredOptions(PlanOptions):
    """Options as a file holds them; one without windows says nothing of their bytes."""

    parallel_bytes: Count | None = _EARLIER_PARALLEL_BYTES

    def __post_init__(self) -> None:
        if self.parallel_windows is None:
            object.__setattr__(self, "parallel_bytes", PlanOptions.parallel_bytes)


@dataclass(frozen=True, kw_only=True)
class _Stored(RunConfig):
    """A configuration as its file holds it: the texts of profile files are read one by one."""

    options: _StoredOptions
    store: dict[str, Any] | None = None  # type: ignore[assignment]
    settings: None = None  # type: ignore[assignment]
    profile_files: tuple[str, ...] = ()  # type: ignore[assignment]
    directories: tuple[str, ...] = ()
    directory_bound: Figure | None = None
    directory_modes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("formats", "profiles", "suites", "caches"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"Expected each of the {name} once")
