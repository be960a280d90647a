"""Slim a directory file by file: pack, prove, write, note, and only then remove; a rerun finishes what was begun."""

from __future__ import annotations

import dataclasses
import errno
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, UsageError, unknown_name
from harness.predictions import container, reducing
from harness.predictions.disk import PARTIAL, digest, file_digest, is_plain_file, locked, remove_file, write_whole
from harness.predictions.manifest import EXACT, NAME, Entry, SlimManifest, inside, load_manifest
from harness.predictions.pickles import load
from harness.predictions.recognise import Item, Recognised, parse_json, recognise

MODES = ("slim", "minimal")
PLAIN = ("best", "none")


@dataclass(frozen=True)
class Row:
    """What happened to one file, or would.

    Attributes
    ----------
    path : str
        The file.
    fate : str
        ``packed``, ``copy``, ``kept`` or ``restored``.
    before, after : int
        Bytes.
    note : str
        Where it survives, at what precision, or why it stays.
    """

    path: str
    fate: str
    before: int
    after: int
    note: str


@dataclass(frozen=True)
class Outcome:
    """What a run did, or would do.

    Attributes
    ----------
    kind : str
        What made the directory.
    rows : tuple of Row
        One a file.
    problems : tuple of str
        One sentence for each file that was left as it was because something is wrong with it.
    changed : int
        How many files changed, or would; 0 for a directory that was slimmed before.
    """

    kind: str
    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    changed: int

    @property
    def before(self) -> int:
        """Bytes before."""
        return sum(row.before for row in self.rows)

    @property
    def after(self) -> int:
        """Bytes after."""
        return sum(row.after for row in self.rows)


def slim(
    folder: Path,
    mode: str,
    *,
    bound: float | None = None,
    plain: str = "best",
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Slim a result directory.

    Parameters
    ----------
    folder : Path
        The directory of one job.
    mode : {"slim", "minimal"}
        Lossless by bytes, or declared lossy.
    bound : float, optional
        For minimal: the largest error of a predicted error, in Angstrom.
    plain : {"best", "none"}
        Whether what tools read plain of the best prediction stays plain.
    dry_run : bool
        Do everything but write.
    progress : callable
        Told each file before it is worked on.

    Returns
    -------
    Outcome
        File by file.

    Raises
    ------
    UsageError
        When the directory is of neither program, is slimmed in another mode, or the options do not fit.
    HarnessError
        When its ranking or manifest is damaged or newer, or the disk is full; every original is whole then.
    """
    _check_options(mode, bound, plain)
    if not folder.is_dir():
        raise UsageError(f"There is no directory {folder}.")
    with disk_is_whole(folder), locked(folder):
        manifest = load_manifest(folder)
        asked = SlimManifest("", mode, bound, plain)
        if manifest is not None:
            _check_same(folder, manifest, asked)
        found = recognise(folder, plain, manifest.kind if manifest else "")
        manifest = dataclasses.replace(manifest or asked, kind=found.kind, best=found.best)
        run = _Run(folder, manifest, dry_run)
        if not dry_run:
            clear_partials(folder, [item.path for item in found.items] + list(manifest.items))
        for item in found.items:
            progress(item.path)
            run.work_on(item)
        run.note_what_stays(found)
        return Outcome(found.kind, tuple(sorted(run.rows, key=lambda row: row.path)), tuple(run.problems), run.changed)


def _check_options(mode: str, bound: float | None, plain: str) -> None:
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    if plain not in PLAIN:
        raise unknown_name("choice for --plain", plain, PLAIN)
    if mode == "slim" and bound is not None:
        raise UsageError("--mode slim loses nothing and takes no --bound; leave it out, or choose --mode minimal.")
    if mode == "minimal" and bound is None:
        raise UsageError(
            "--mode minimal gives up precision and needs --bound, the largest error in Angstrom that a predicted "
            "aligned error may get, such as --bound 0.05."
        )
    if bound is not None and not (math.isfinite(bound) and 1e-6 <= bound <= 100):
        raise UsageError(f"--bound has to be a number of Angstrom from 0.000001 to 100, not {bound:g}.")


def _check_same(folder: Path, manifest: SlimManifest, asked: SlimManifest) -> None:
    if (manifest.mode, manifest.bound) != (asked.mode, asked.bound):
        done = manifest.mode + (f" with --bound {manifest.bound:g}" if manifest.bound is not None else "")
        way = f"run harness unslim {folder} first" if manifest.mode == "slim" else "what it gave up does not come back"
        raise UsageError(f"{folder} is slimmed already, in mode {done}; {way}.")
    if manifest.plain != asked.plain:
        raise UsageError(
            f"{folder} is slimmed already, with --plain {manifest.plain}; run harness unslim {folder} first."
        )


@contextmanager
def disk_is_whole(folder: Path) -> Iterator[None]:
    """Turn what a disk refuses into one sentence, which can say that nothing is lost."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way = "free some space and run the same command again" if full else "run the same command again"
        raise HarnessError(f"{folder}: {error.strerror or error}; no file is lost: {way}.") from error


def clear_partials(folder: Path, names: list[str]) -> None:
    """Remove what a killed run was writing; it was never whole."""
    for place in {folder, *(inside(folder, name).parent for name in names)}:
        for path in place.glob(f".*{PARTIAL}"):
            path.unlink()


class _Run:
    def __init__(self, folder: Path, manifest: SlimManifest, dry_run: bool) -> None:
        self.folder, self.manifest, self.dry_run = folder, manifest, dry_run
        self.rows: list[Row] = []
        self.problems: list[str] = []
        self.changed = 0
        self._seen = {item.before["sha256"]: name for name, item in manifest.items.items() if _whole(item)}

    def work_on(self, item: Item) -> None:
        """Slim one file, or say why it is left as it was; only the disk can end the run."""
        try:
            self._slim(item)
        except HarnessError as error:
            self.problems.append(f"{item.path} was left as it was: {error}".rstrip(".") + ".")

    def _slim(self, item: Item) -> None:
        path = inside(self.folder, item.path)
        state = path.stat()
        data = path.read_bytes()
        before = {"size": len(data), "sha256": digest(data)}
        entry = self.manifest.items.get(item.path)
        if (
            entry is not None
            and entry.state == "done"
            and entry.fate != "kept"
            and self._finished(item.path, entry, before)
        ):
            return
        content = load(data) if path.suffix == ".pkl" else parse_json(data)
        if not item.is_ours(content):
            return  # it only has such a name; someone else made it
        keep = item.keep
        twin = self._seen.get(before["sha256"])
        if twin == item.path or keep:
            twin = None
        if item.is_top and twin is None and self.manifest.plain == "best" and not keep:
            keep = "tools read it as it is, and no sample has the same bytes"
        base = Entry("kept", "done", item.path, EXACT, keep, before, None, state.st_mode & 0o7777, state.st_mtime_ns)
        if keep:
            self._keep(item.path, base)
        elif twin is not None:
            self._remove_copy(item.path, dataclasses.replace(base, fate="copy", survives_in=twin, why="the same bytes"))
        else:
            self._pack(item.path, data, base)

    def _finished(self, name: str, entry: Entry, before: dict[str, object]) -> bool:
        """Finish a file that was slimmed and is there still, or again; False when it has to be slimmed anew."""
        place = inside(self.folder, entry.survives_in)
        if entry.before != before:
            raise HarnessError(
                f"it is not what was slimmed before into {entry.survives_in}; remove or rename one of the two"
            )
        if entry.fate == "copy":
            if not is_plain_file(place) or file_digest(place) != before["sha256"]:
                return False
        elif not is_plain_file(place) or entry.after is None or file_digest(place) != entry.after["sha256"]:
            self._forget(name)
            return False
        self.changed += 1
        if not self.dry_run:
            remove_file(self.folder / name)
        return True

    def _forget(self, name: str) -> None:
        self.manifest = self.manifest.without(name)

    def _note(self, name: str, entry: Entry) -> None:
        self.manifest = self.manifest.with_entry(name, entry)
        if not self.dry_run:
            self.manifest.save(self.folder)

    def _keep(self, name: str, entry: Entry) -> None:
        self.manifest = self.manifest.with_entry(name, entry)
        self._seen.setdefault(entry.before["sha256"], name)

    def _remove_copy(self, name: str, entry: Entry) -> None:
        self.changed += 1
        # The file that stays may be plain or packed; what it gives is compared once more, from the disk.
        if not self.dry_run:
            if digest(read_entry(self.folder, entry.survives_in, self.manifest).data) != entry.before["sha256"]:
                raise HarnessError(f"{entry.survives_in} does not have the same bytes any more")
            self._note(name, entry)
            self._remove_original(name, entry)
        else:
            self._note(name, entry)

    def _pack(self, name: str, data: bytes, base: Entry) -> None:
        reduced = reducing.Reduced(data)
        if self.manifest.bound is not None:
            reduce = reducing.reduce_pickle if name.endswith(".pkl") else reducing.reduce_json
            reduced = reduce(data, self.manifest.bound)
        lossy = reduced.data != data
        suffix, packed = container.pack(
            Path(name).name,
            reduced.data,
            original=base.before["sha256"] if lossy else "",
            dropped=reduced.dropped,
            steps=reduced.steps,
        )
        if len(packed) >= len(data):
            self._keep(name, dataclasses.replace(base, why="packed it would not be smaller"))
            return
        after = {"size": len(packed), "sha256": digest(packed)}
        precision = "see arrays; all other arrays bit for bit" if lossy else EXACT
        entry = dataclasses.replace(
            base,
            fate="packed",
            state="begun",
            survives_in=name + suffix,
            precision=precision,
            why="",
            after=after,
            arrays=reduced.arrays if lossy else (),
        )
        target = self.folder / entry.survives_in
        known = self.manifest.items.get(name)
        if (target.exists() or target.is_symlink()) and not (known and known.survives_in == entry.survives_in):
            raise HarnessError(f"{entry.survives_in} is in its way, and is not of this harness's making; rename it")
        # The note comes first: were it last, a file left by a kill could not be told from one that someone else made.
        self._note(name, entry)
        self.changed += 1
        if not lossy:
            self._seen.setdefault(entry.before["sha256"], name)
        if self.dry_run:
            return
        write_whole(target, packed, base.mode, base.mtime_ns)
        if target.read_bytes() != packed:
            raise HarnessError("what was read back from the disk is not what was written")
        self._note(name, dataclasses.replace(entry, state="done"))
        self._remove_original(name, entry)

    def _remove_original(self, name: str, entry: Entry) -> None:
        path = self.folder / name
        if file_digest(path) != entry.before["sha256"]:
            raise HarnessError("it changed while it was slimmed; run the same command again")
        remove_file(path)

    def note_what_stays(self, found: Recognised) -> None:
        """Note what is kept in every mode, and make the rows."""
        for name in found.stays:
            path = self.folder / name
            before = {"size": path.stat().st_size, "sha256": file_digest(path)}
            self._keep(name, Entry("kept", "done", name, EXACT, "structures, scores and rankings always stay", before))
        for name, entry in list(self.manifest.items.items()):
            if entry.fate == "kept" and not is_plain_file(self.folder / name):
                self._forget(name)  # it was the user's to remove
                continue
            after = {"kept": entry.before, "copy": {"size": 0}}.get(entry.fate, entry.after) or {"size": 0}
            note = entry.why if entry.fate == "kept" else f"{entry.survives_in}, {_words(entry)}"
            self.rows.append(Row(name, entry.fate, entry.before["size"], after["size"], note))
        if not self.dry_run:
            self.manifest.save(self.folder)


def _whole(entry: Entry) -> bool:
    """Say whether a file gives back all its bytes, so that another with the same bytes may rely on it."""
    return entry.fate in ("kept", "packed") and entry.precision == EXACT


def _words(entry: Entry) -> str:
    if not entry.arrays:
        return entry.precision
    dropped = sum(array["fate"] == "dropped" for array in entry.arrays)
    errors = [array["largest_error"] for array in entry.arrays if array["fate"] == "rounded"]
    parts = ([f"{dropped} arrays dropped"] if dropped else []) + (
        [f"largest error {max(errors):.3g}"] if errors else []
    )
    return ", ".join(parts)


def read_entry(folder: Path, name: str, manifest: SlimManifest | None) -> container.Unpacked:
    """Read a file of a directory, wherever it survives.

    Parameters
    ----------
    folder : Path
        The directory.
    name : str
        The file as it was named before slimming.
    manifest : SlimManifest or None
        Of the directory, if it has one.

    Returns
    -------
    Unpacked
        Its content.

    Raises
    ------
    HarnessError
        When it is nowhere, or what holds it is damaged.
    """
    path = inside(folder, name)
    entry = manifest.items.get(name) if manifest else None
    if is_plain_file(path):
        data = path.read_bytes()
        return container.Unpacked(data, digest(data))
    if entry is None or entry.fate == "kept":
        raise HarnessError(f"{folder} has no {name}, and {NAME} names no place where it survives.")
    if entry.fate == "copy":
        return read_entry(folder, entry.survives_in, manifest)
    place = inside(folder, entry.survives_in)
    if not is_plain_file(place):
        raise HarnessError(f"{place}, where {name} survives, is missing.")
    try:
        return container.unpack(place.read_bytes())
    except HarnessError as error:
        raise HarnessError(f"{place}, where {name} survives, cannot be read: {error}") from error
