"""Result directories as a measurement of runs: options, cells, and checks of their record for evidence."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.extensions.result_directories.measuring import DirectoriesOfRun, open_directories
from harness.extensions.result_directories.record import DIRECTORIES, RecordedMode, read_directories, total
from harness.extensions.result_directories.run_options import (
    ACCESS,
    DIRECTORY_MODES,
    NAME,
    VANILLA,
    asked_of,
    directory_key,
)
from harness.extensions.result_directories.slimming import parse_bound
from harness.records import CellKey
from harness.row_files import read_samples
from harness.run.config import RunConfig
from harness.run.measurement import Measurement, Measuring


class DirectoryMeasurement(Measurement):
    """Measurement of how small result directories of AlphaFold become; it runs before the first trace."""

    name = NAME
    alone = True
    access = ACCESS

    def add_options(self, add: Callable[..., argparse.Action]) -> None:
        """Add ``--directory`` and ``--directory-bound``."""
        add("--directory", action="append", metavar="DIR", help="a result directory of AlphaFold to slim a copy of; "
            "repeatable; alone, or beside traces that --trace names")  # fmt: skip
        add("--directory-bound", metavar="ANGSTROM", help="slim it in mode minimal too, within this error "
            "(default: without loss alone)")  # fmt: skip

    def asked(self, arguments: argparse.Namespace) -> dict[str, Any] | None:
        """Return directories, bound and modes from the options; None without directories."""
        bound = arguments.directory_bound
        if not arguments.directory:
            if bound is not None:
                raise UsageError("--directory-bound is the error that slimming may make in a --directory: name one.")
            return None
        number = None if bound is None else parse_bound(bound, "--directory-bound")
        return {"directories": list(arguments.directory), "bound": number, "modes": list(DIRECTORY_MODES)}

    def earlier(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """Remove and return the fields of this measurement that earlier versions stored at the top level."""
        names = {"directories": "directories", "directory_bound": "bound", "directory_modes": "modes"}
        found = {name: document.pop(key, None) for key, name in names.items()}
        return {k: v for k, v in found.items() if v is not None} if found["directories"] else None

    def options(self, config: RunConfig) -> Iterator[str]:
        """Yield the options that request the same directories."""
        if asked := asked_of(config):
            yield from (f"--directory {shlex.quote(directory)}" for directory in asked.directories)
            if asked.bound is not None:
                yield f"--directory-bound {asked.bound!r}"

    def open(self, config: RunConfig) -> Measuring | None:
        """Recognise every directory, and return the measurement of them; None without directories."""
        asked = asked_of(config)
        return None if asked is None else DirectoriesOfRun(asked, open_directories(asked))

    def cells(self, config: RunConfig, recorded: Sequence[CellKey]) -> Iterator[tuple[CellKey, int]]:
        """Yield the cells of every directory with their positions, named as in the recorded cells."""
        if (asked := asked_of(config)) is None:
            return
        suites = list(dict.fromkeys(key.suite for key in recorded)) or [directory_key("", "").suite]
        labels = list(dict.fromkeys(key.trace for key in recorded))[: len(asked.directories)]
        labels += [f"directory {number + 1}" for number in range(len(labels), len(asked.directories))]
        for label in labels:
            for position, mode in enumerate(asked.modes):
                yield from ((directory_key(label, mode, suite), position) for suite in suites)

    def check(self, run: Path) -> Iterator[tuple[str, list[str]]]:
        """Compare the samples with the record of the files; yield the problems."""
        if (run / DIRECTORIES).exists():
            yield DIRECTORIES, list(_problems(run))

    def outside(self, config: RunConfig) -> Iterable[str]:
        """Return the directories in words."""
        asked = asked_of(config)
        return [f"the directory {path!r}" for path in asked.directories] if asked else []

    def differences(self, before: Path, after: Path) -> tuple[list[str], list[str]]:
        """Compare the records of two runs; return differences in size, and differences only in bytes."""
        found, other, second = [], [], _recorded(after)
        for place, facts in _recorded(before).items():
            name = ", ".join(place)
            if place not in second:
                found.append(f"{name}: the second run has no such directory")
            elif total(facts) != total(second[place]):
                found.append(f"{name}: {total(facts)[0]} bytes, then {total(second[place])[0]}")
            elif facts["contents"] != second[place]["contents"]:
                other.append(f"{name}: {total(facts)[0]} bytes both times, but not the same ones")
        return found, other

    def data(self, run: Path) -> Mapping[str, tuple[Any, Any]]:
        """Return the requested bound, and the files of each directory as written, by directory."""
        if not (run / DIRECTORIES).exists():
            return {}
        asked = asked_of(RunConfig.read(run / "run.json"))
        bound = asked.bound if asked else None
        return {
            found["directory"]: (bound, found["modes"].get(VANILLA)) for found in read_directories(run / DIRECTORIES)
        }


measurement = DirectoryMeasurement()


def _recorded(run: Path) -> dict[tuple[str, str], RecordedMode]:
    path = run / DIRECTORIES
    found = read_directories(path) if path.exists() else []
    return {(entry["directory"], mode): facts for entry in found for mode, facts in entry["modes"].items()}


def _problems(run: Path) -> Iterator[str]:
    """Yield the contradictions between the samples of result directories and the record of their files."""
    stated = _recorded(run)
    asked, recorded = asked_of(RunConfig.read(run / "run.json")), len({name for name, _ in stated})
    if (count := len(asked.directories) if asked else 0) != recorded:
        yield f"the run asks for {count} directories, the record has {recorded}"
    samples = read_samples(run / "samples.csv")
    for row in samples[samples["access"] == ACCESS].to_dict("records"):
        place = (str(row["trace"]), str(row["format"]))
        if place[1] not in DIRECTORY_MODES:
            yield f"{place[0]}: there is no mode {place[1]}"
        elif row["status"] == "ok" and place not in stated:
            yield f"{place[0]}, {place[1]}: no record of its files"
        elif row["status"] == "ok" and (said := (int(row["size_bytes"]), int(row["files"]))) != total(stated[place]):
            size, files = total(stated[place])
            yield (
                f"{place[0]}, {place[1]}: the sample says {said[0]} bytes in {said[1]} files, "
                f"the record {size} bytes in {files}"
            )
