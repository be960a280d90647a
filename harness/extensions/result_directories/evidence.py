"""Hold the samples of result directories against the record of their files, and two such records against each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.extensions.result_directories.analysis import is_directory
from harness.extensions.result_directories.asked import DIRECTORY_MODES, asked_of
from harness.extensions.result_directories.record import DIRECTORIES, RecordedMode, read_directories, total
from harness.row_files import read_samples
from harness.run.config import RunConfig


def check_directories(run: Path) -> Iterator[str]:
    """Yield what the samples of result directories say that the record of their files does not.

    Parameters
    ----------
    run : Path
        A run's folder.
    """
    stated = _stated(run)
    asked, recorded = asked_of(RunConfig.read(run / "run.json")), len({name for name, _ in stated})
    if (count := len(asked.directories) if asked else 0) != recorded:
        yield f"the run asks for {count} directories, the record has {recorded}"
    samples = read_samples(run / "samples.csv")
    for row in samples[is_directory(samples)].to_dict("records"):
        place = (str(row["trace"]), str(row["format"]))
        if place[1] not in DIRECTORY_MODES:
            yield f"{place[0]}: there is no mode {place[1]}"
        elif row["status"] == "ok" and place not in stated:
            yield f"{place[0]}, {place[1]}: no record of its files"
        elif row["status"] == "ok" and (int(row["size_bytes"]), int(row["files"])) != total(stated[place]):
            size, files = total(stated[place])
            yield (
                f"{place[0]}, {place[1]}: the sample says {int(row['size_bytes'])} bytes in {int(row['files'])} files, "
                f"the record {size} bytes in {files}"
            )


def directory_differences(before: Path, after: Path) -> tuple[list[str], list[str]]:
    """Compare the result directories of two runs.

    Parameters
    ----------
    before, after : Path
        Their folders.

    Returns
    -------
    list of str
        Those whose size differs, in words.
    list of str
        Those of the same size whose bytes differ, in words.
    """
    sizes, digests = [], []
    second = _stated(after)
    for place, facts in _stated(before).items():
        name = ", ".join(place)
        if place not in second:
            sizes.append(f"{name}: the second run has no such directory")
        elif total(facts) != total(second[place]):
            sizes.append(f"{name}: {total(facts)[0]} bytes, then {total(second[place])[0]}")
        elif facts["contents"] != second[place]["contents"]:
            digests.append(f"{name}: {total(facts)[0]} bytes both times, but not the same ones")
    return sizes, digests


def _stated(run: Path) -> dict[tuple[str, str], RecordedMode]:
    path = run / DIRECTORIES
    found = read_directories(path) if path.exists() else []
    return {(entry["directory"], mode): facts for entry in found for mode, facts in entry["modes"].items()}
