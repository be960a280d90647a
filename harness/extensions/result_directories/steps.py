"""Slimming of one file at a time: pack, verify, record, write, record, and only then remove the original.

A rerun finishes interrupted work.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import HarnessError
from harness.extensions.result_directories import container, disk, reducing
from harness.extensions.result_directories.manifest import EXACT, NAME, Content, FileEntry, Kind, SlimManifest, inside
from harness.extensions.result_directories.programs import READ_AS_XZ, Item, parse
from harness.extensions.result_directories.reading import read_entry
from harness.files import file_digest

Reader = Literal["tools", "unslim", "harness"]


@dataclass(frozen=True)
class FileRow:
    """Result for one file, or its result in a dry run."""

    path: str  # The file.
    # ``packed``, ``copy``, ``kept`` or ``restored``; ``left`` for a file with a problem, ``other`` for a file that
    # slimming does not touch, and ``manifest`` for the manifest itself.
    fate: str
    # Bytes.
    before: int
    after: int
    note: str  # Its present location and precision, or why it stays.
    # What can read it. "tools": tools after the program. "unslim": these tools once it is restored. "harness": as far
    # as is known, only this harness.
    reader: Reader = "tools"


class SlimRun:
    """State of one slimming of a directory.

    Attributes
    ----------
    manifest : SlimManifest
        In its current state.
    problems : list of str
        One sentence for each file that was left unchanged because of a problem.
    changed : int
        Number of files that changed, or would.
    """

    def __init__(self, folder: Path, manifest: SlimManifest, dry_run: bool) -> None:
        self.folder, self.manifest, self.dry_run = folder, manifest, dry_run
        self.problems: list[str] = []
        self.changed = 0
        self._left: set[str] = set()
        # Files that can be restored exactly: others with the same bytes may be recorded as copies of them.
        exact = {name: item for name, item in manifest.items.items() if item.precision == EXACT and item.fate != "copy"}
        self._seen = {item.before["sha256"]: name for name, item in exact.items()}

    def work_on(self, item: Item) -> None:
        """Slim one file, or record why it is left unchanged; only errors of the disk end the run."""
        try:
            self._slim(item)
        except HarnessError as error:
            self._leave(item.path, str(error).rstrip("."))
        except MemoryError:
            self._leave(item.path, "it needs more memory than there is")

    def _leave(self, name: str, why: str) -> None:
        self._left.add(name)
        self.problems.append(f"{name} was left as it was: {why}.")

    def _slim(self, item: Item) -> None:
        path = inside(self.folder, item.path)
        state = path.stat()
        data = disk.read_bytes(path)
        before: Content = {"size": len(data), "sha256": disk.digest(data)}
        entry = self.manifest.items.get(item.path)
        if entry is not None and entry.fate != "kept":
            if entry.state == "done" and self._finished(item.path, entry, before):
                return
            # A killed run wrote a packed file but did not remove the original. This run may pack it in another form.
            if not self.dry_run:
                self._remove_packed(entry)
        if not item.rule.is_ours(parse(item.path, data)):
            return  # it only has such a name; another program wrote it
        keep, readable = item.keep, self.manifest.plain == "best"
        same = self._seen.get(before["sha256"])
        # Tools read each sample under its own name, so only the job's own copy of a sample may be absent.
        is_top = item.rule.stays == "top"
        if same == item.path or keep or (readable and not is_top):
            same = None
        if is_top and same is None and readable:
            keep = "tools read it as it is, and no sample has the same bytes"
        base = FileEntry("kept", "done", item.path, EXACT, keep, before, None, state.st_mode & 0o777, state.st_mtime_ns)
        if keep:
            self._keep(item.path, base)
        elif same is not None:
            self._remove_copy(item.path, dataclasses.replace(base, fate="copy", survives_in=same, why="the same bytes"))
        else:
            self._pack(item.path, data, base)

    def _remove_packed(self, entry: FileEntry) -> None:
        place = inside(self.folder, entry.survives_in)
        if disk.is_plain_file(place) and file_digest(place) == entry.written:
            disk.remove_file(place)

    def _finished(self, name: str, entry: FileEntry, before: Content) -> bool:
        """Finish a slimmed file whose original still or again exists; return False if it must be slimmed again."""
        if entry.before != before:
            raise HarnessError(
                f"it is not what was slimmed before into {entry.survives_in}; remove or rename one of the two"
            )
        place = inside(self.folder, entry.survives_in)
        expected = before["sha256"] if entry.fate == "copy" else entry.written
        if not disk.is_plain_file(place) or file_digest(place) != expected:
            if entry.fate == "packed":
                del self.manifest.items[name]
            return False
        self.changed += 1
        if not self.dry_run:
            disk.remove_file(self.folder / name)
        return True

    def _note(self, name: str, entry: FileEntry) -> None:
        self.manifest.items[name] = entry
        if not self.dry_run:
            self.manifest.save(self.folder)

    def _keep(self, name: str, entry: FileEntry) -> None:
        self.manifest.items[name] = entry
        self._seen.setdefault(entry.before["sha256"], name)

    def _remove_copy(self, name: str, entry: FileEntry) -> None:
        self.changed += 1
        # The other file may be plain or packed; compare its content again, from the disk.
        if (
            not self.dry_run
            and disk.digest(read_entry(self.folder, entry.survives_in, self.manifest).data) != (entry.before["sha256"])
        ):
            raise HarnessError(f"{entry.survives_in} does not have the same bytes any more")
        self._note(name, entry)
        self._remove_original(name, entry)

    def _pack(self, name: str, data: bytes, base: FileEntry) -> None:
        reduced = reducing.Reduced(data)
        # A file whose copy was removed must keep every bit, because it now holds the content of both.
        relied_on = any(item.fate == "copy" and item.survives_in == name for item in self.manifest.items.values())
        if self.manifest.bound is not None and not relied_on:
            reduce = reducing.reduce_pickle if name.endswith(".pkl") else reducing.reduce_json
            reduced = reduce(data, self.manifest.bound)
        lossy = reduced.data != data
        suffix, packed = container.pack(
            Path(name).name,
            reduced.data,
            original=base.before["sha256"] if lossy else "",
            dropped=reduced.dropped,
            steps=reduced.steps,
            readable=self.manifest.plain == "best",
        )
        if len(packed) >= len(data):
            self._keep(name, dataclasses.replace(base, why="packed it would not be smaller"))
            return
        after: Content = {"size": len(packed), "sha256": disk.digest(packed)}
        entry = dataclasses.replace(base, fate="packed", state="begun", survives_in=name + suffix, why="", after=after)
        if lossy:
            after["gives"] = len(reduced.data)
            precision = "see arrays; all other arrays bit for bit"
            entry = dataclasses.replace(entry, precision=precision, arrays=reduced.arrays)
        target = self.folder / entry.survives_in
        if len(os.fsencode(target.name)) > os.pathconf(target.parent, "PC_NAME_MAX"):
            raise HarnessError(f"its name is too long to have {suffix} after it; rename it")
        known = self.manifest.items.get(name)
        if (target.exists() or target.is_symlink()) and not (known and known.survives_in == entry.survives_in):
            raise HarnessError(f"{entry.survives_in} is in the way and was not written by this harness; rename it")
        # Record it first. Otherwise a packed file that a killed run left would look like another program's.
        self._note(name, entry)
        self.changed += 1
        if not lossy:
            self._seen.setdefault(entry.before["sha256"], name)
        if not self.dry_run:
            disk.write_whole(target, packed, base.mode, base.mtime_ns)
            if target.read_bytes() != packed:
                raise HarnessError("the bytes read back from the disk differ from those written")
        self._note(name, dataclasses.replace(entry, state="done"))
        self._remove_original(name, entry)

    def _remove_original(self, name: str, entry: FileEntry) -> None:
        if self.dry_run:
            return
        path = self.folder / name
        if file_digest(path) != entry.before["sha256"]:
            if entry.fate == "packed":
                disk.remove_file(self.folder / entry.survives_in)
            del self.manifest.items[name]
            self.manifest.save(self.folder)
            raise HarnessError("it changed while it was slimmed; run the same command again")
        disk.remove_file(path)

    def end(self, stays: tuple[str, ...]) -> tuple[FileRow, ...]:
        """Record the files that stay in every mode; return a row for each file and for the manifest."""
        for name in stays:
            path = self.folder / name
            try:
                before: Content = {"size": path.stat().st_size, "sha256": file_digest(path)}
            except OSError as error:
                self.problems.append(f"{name} stays, but cannot be read ({error.strerror}).")
                continue
            self._keep(
                name, FileEntry("kept", "done", name, EXACT, "structures, scores and rankings always stay", before)
            )
        items = self.manifest.items
        for name in [name for name, entry in items.items() if entry.fate == "kept"]:
            if not disk.is_plain_file(self.folder / name):
                del items[name]  # the user has removed it
        rows = [_row(self.manifest.kind, name, entry) for name, entry in items.items()]
        known = {NAME, *items, *(entry.survives_in for entry in items.values())}
        for name, size in disk.sizes(self.folder).items():
            if name not in known:
                rows.append(FileRow(name, "left" if name in self._left else "other", size, size, "not touched"))
        if self.changed or (self.folder / NAME).exists():  # otherwise there is nothing to restore
            # The manifest counts as a part of the directory: with a few short files it can exceed the savings.
            rows.append(FileRow(NAME, "manifest", 0, len(self.manifest.text().encode()), "says where everything is"))
            if not self.dry_run:
                self.manifest.save(self.folder)
        return tuple(sorted(rows, key=lambda row: row.path))


def _row(kind: Kind, name: str, entry: FileEntry) -> FileRow:
    size = entry.before["size"]
    if entry.fate == "kept":
        return FileRow(name, entry.fate, size, size, entry.why)
    as_xz = entry.survives_in.endswith(container.XZ) and re.fullmatch(READ_AS_XZ.get(kind, ""), name) is not None
    reader: Reader = "tools" if entry.fate == "packed" and as_xz else "harness" if entry.arrays else "unslim"
    note = f"{entry.survives_in}, {_precision(entry)}"
    return FileRow(name, entry.fate, size, entry.after["size"] if entry.after else 0, note, reader)


def _precision(entry: FileEntry) -> str:
    if not entry.arrays:
        return entry.precision
    parts = [f"{len(entry.dropped)} arrays dropped"] if entry.dropped else []
    errors = entry.largest_errors.values()
    return ", ".join([*parts, f"largest error {max(errors):.3g}"] if errors else parts)
