"""Result directories of a run: each copied, slimmed, counted, read as before, and brought back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import HarnessError, UsageError
from harness.extensions.result_directories.comparing import Compared, compare
from harness.extensions.result_directories.disk import contents, copy_folder
from harness.extensions.result_directories.manifest import Kind, Mode, Plain, load_manifest
from harness.extensions.result_directories.recognise import recognise
from harness.extensions.result_directories.record import DirectoryRecord
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import slim
from harness.formats.archive import remove
from harness.records import CellKey, NoFigure
from harness.run.config import RESULT_DIRECTORY, VANILLA, RunConfig
from harness.run.recorder import Recorder
from harness.sampling.worker import Children, Worker, WorkerError
from harness.workload import Suite

Contents = dict[str, tuple[int, str]]
"""Size and SHA-256 of files, by path."""

_OPTIONS: dict[str, tuple[Mode, Plain]] = {
    "slim": ("slim", "best"),
    "slim-plain-none": ("slim", "none"),
    "minimal": ("minimal", "best"),
}
"""Mode and ``--plain`` of `slimming.slim`, by what `DIRECTORY_MODES` calls them."""

_NO_BOUND = "mode minimal gives up precision and was given no bound: name one with --directory-bound"
_UNREAD = "the directory as it was written could not be measured"


@dataclass(frozen=True)
class Directory:
    """One result directory.

    Attributes
    ----------
    text : str
        As it was asked for.
    label : str
        As records name it: the end of its path, as much as tells it from the others.
    kind : str
        What made it, one of `harness.extensions.result_directories.manifest.KINDS`.
    suites : tuple of str
        The suites that measure it.
    size_bytes : int
        Of all its files.
    """

    text: str
    label: str
    kind: Kind
    suites: tuple[str, ...]
    size_bytes: int


def open_directories(config: RunConfig) -> list[Directory]:
    """Recognise every result directory of a run; nothing is copied yet.

    Parameters
    ----------
    config : RunConfig
        Directories and suites.

    Returns
    -------
    list of Directory
        In the order of the configuration.

    Raises
    ------
    UsageError
        When a directory does not exist, is of no known program or slimmed already, or no suite measures it.
    HarnessError
        When its ranking is damaged.
    """
    if not config.directories:
        return []
    suites = tuple(name for name in config.suites if _asks(name))
    if not suites:
        able = ", ".join(name for name in registry.names("suites") if _asks(name))
        raise UsageError(f"Result directories are measured by the suite {able}, which --suites leaves out: add it.")
    found = []
    for text, label in zip(config.directories, _labels(config.directories), strict=True):
        folder = Path(text)
        kind = recognise(folder, "best").kind
        if load_manifest(folder) is not None:
            raise UsageError(f"{folder} is slimmed already; run harness unslim {folder} first, or name another.")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        found.append(Directory(text, label, kind, suites, size))
    return found


def _asks(name: str) -> bool:
    suite: Suite = registry.load("suites", name)
    return suite.result_directories


def _labels(texts: Sequence[str]) -> list[str]:
    parts = [Path(text).resolve().parts for text in texts]
    if len(set(parts)) < len(parts):
        raise UsageError("A result directory is named twice; name each once.")
    longest = max(map(len, parts))
    return next(
        labels
        for count in range(1, longest + 1)
        if len(set(labels := ["/".join(part[-count:]) for part in parts])) == len(parts)
    )


@dataclass(frozen=True)
class Slimmed:
    """What one mode makes of a directory.

    Attributes
    ----------
    before, after : Contents
        The directory as it was written, and in this mode.
    compared : Compared or None
        What is read from it as before; None for the directory as it was written.
    given_up : tuple of str
        The files that the mode declares as not to be restored.
    needs_unslim : tuple of str
        The files that tools cannot read before the directory is restored.
    """

    before: Contents
    after: Contents
    compared: Compared | None = None
    given_up: tuple[str, ...] = ()
    needs_unslim: tuple[str, ...] = ()


@dataclass(frozen=True)
class SlimTask:
    """Copy a directory, slim the copy, read it as before, and bring it back.

    Attributes
    ----------
    folder : Path
        The directory; it is only read.
    copy : Path
        Where the copy goes; it is removed.
    mode : str
        One of `DIRECTORY_MODES`.
    bound : float or None
        For minimal.
    """

    folder: Path
    copy: Path
    mode: str
    bound: float | None

    def run(self, children: Children) -> Slimmed:
        """Do all of it.

        Raises
        ------
        HarnessError
            When a file could not be slimmed, is read otherwise than before, or does not come back byte for byte.
        """
        remove(self.copy)
        try:
            copy_folder(self.folder, self.copy)
            before = contents(self.copy)
            if self.mode == VANILLA:
                return Slimmed(before, before)
            mode, plain = _OPTIONS[self.mode]
            found = slim(self.copy, mode, bound=self.bound, plain=plain)
            _refuse(found.problems)
            after = contents(self.copy)
            compared = compare(self.folder, self.copy)
            _refuse(compared.problems)
            return Slimmed(before, after, compared, _brought_back(self.copy, before), found.needs_unslim)
        finally:
            remove(self.copy)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise HarnessError(problems[0].rstrip(".") + more)


def _brought_back(folder: Path, before: Contents) -> tuple[str, ...]:
    """Bring a directory back and name the files that its manifest declares as given up; no other may be missing."""
    manifest = load_manifest(folder)
    if manifest is None:
        return ()  # nothing was gained, so nothing was changed
    given_up = tuple(sorted(name for name, entry in manifest.items.items() if entry.arrays))
    unslim(folder)
    now = contents(folder)
    missing = [name for name in before if now.get(name) != before[name] and name not in given_up]
    _refuse([f"{name} does not come back byte for byte" for name in missing])
    if not given_up and now != before:
        raise HarnessError(f"{sorted(set(now) - set(before))[0]} is left after restoring")
    return given_up


def _listed(found: Contents) -> dict[str, Any]:
    return {name: {"size": size, "sha256": digest} for name, (size, digest) in found.items()}


def _facts(bound: float | None, slimmed: Slimmed) -> dict[str, Any]:
    facts: dict[str, Any] = {"before": _listed(slimmed.before), "contents": _listed(slimmed.after)}
    if slimmed.compared is None:
        return facts
    return {
        "bound": bound,
        "files_restored": len(slimmed.before) - len(slimmed.given_up),
        "files_given_up": list(slimmed.given_up),
        "files_need_unslim": list(slimmed.needs_unslim),
        "values_compared": slimmed.compared.values,
        "values_same": slimmed.compared.same,
        "values_dropped": slimmed.compared.dropped,
        "largest_error": slimmed.compared.largest_error,
        **facts,
    }


def directory_key(suite: str, label: str, mode: str) -> CellKey:
    """Return the key of the one sample of a directory in a mode."""
    return CellKey(suite, RESULT_DIRECTORY, label, None, mode, "", "", "main", 1)


def measure_directory(
    directory: Directory,
    config: RunConfig,
    scratch: Path,
    worker: Worker,
    recorder: Recorder,
    record: DirectoryRecord,
    step: Callable[[str], None],
) -> None:
    """Take the sample of a directory in every mode that is not recorded yet; a failure is recorded with its reason.

    Parameters
    ----------
    directory : Directory
        From `open_directories`.
    config : RunConfig
        Of the run.
    scratch : Path
        A folder for the copy.
    worker : Worker
        Does the work.
    recorder : Recorder
        Where samples go.
    record : DirectoryRecord
        Where the files of each mode are listed.
    step : callable
        Told before each mode.
    """
    for position, mode in enumerate(config.directory_modes):
        step(f"{directory.label}: {mode}")
        keys = [directory_key(suite, directory.label, mode) for suite in directory.suites]
        if all(recorder.whole([key], 1) for key in keys):
            continue
        for key in keys:
            recorder.begin([key], 1)
        bound = config.directory_bound if mode == "minimal" else None
        if unread := recorder.failure(directory_key(directory.suites[0], directory.label, VANILLA)):
            values: dict[str, Any] = asdict(NoFigure("skipped", _UNREAD, unread.cause))
        elif mode == "minimal" and bound is None:
            values = {"status": "skipped", "reason": _NO_BOUND}
        else:
            values = _taken(directory, mode, bound, scratch / "directory", worker, record)
        for key in keys:
            recorder.add(key, 0, position, **values)


def _taken(
    directory: Directory, mode: str, bound: float | None, copy: Path, worker: Worker, record: DirectoryRecord
) -> dict[str, Any]:
    task = SlimTask(Path(directory.text), copy, mode, bound)
    try:
        slimmed: Slimmed = worker.do(task)
        record.add(directory.label, directory.kind, mode, _facts(bound, slimmed))
    except (WorkerError, HarnessError) as error:
        remove(copy)
        return {**asdict(NoFigure.of(error)), "verified": False}
    size = sum(size for size, _ in slimmed.after.values())
    return {"status": "ok", "verified": True, "size_bytes": size, "files": len(slimmed.after)}
