"""Bring a slimmed directory back, byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.errors import HarnessError, UsageError
from harness.extensions.result_directories import disk
from harness.extensions.result_directories.manifest import NAME, FileEntry, SlimManifest, inside, load_manifest
from harness.extensions.result_directories.reading import read_entry
from harness.extensions.result_directories.slimming import SlimOutcome
from harness.extensions.result_directories.steps import FileRow
from harness.files import file_digest
from harness.limits import LimitError, in_words, scaled_limit


def unslim(folder: Path) -> SlimOutcome:
    """Restore every file that slimming packed or dropped as a copy.

    Parameters
    ----------
    folder : Path
        The directory.

    Returns
    -------
    SlimOutcome
        File by file; its problems name what could not be restored and stays as it is.

    Raises
    ------
    UsageError
        When the directory is not slimmed.
    HarnessError
        When its manifest is damaged or newer, or the disk is full; nothing is lost then.
    """
    with disk.changing(folder):
        manifest = load_manifest(folder)
        if manifest is None:
            raise UsageError(f"{folder} is not slimmed: it has no {NAME}.")
        disk.clear_partials(folder)
        changed = {name: entry for name, entry in sorted(manifest.items.items()) if entry.fate != "kept"}
        _check_total(folder, changed)
        rows, problems = [], []
        # All files first, then what they came from: a copy needs the file that it is a copy of.
        for name, entry in changed.items():
            try:
                _restore(folder, name, entry, manifest)
            except HarnessError as error:
                problems.append(f"{name} was not restored: {error}".rstrip(".") + ".")
            except MemoryError:
                problems.append(f"{name} was not restored: it needs more memory than there is.")
            else:
                size = entry.after["size"] if entry.after else 0
                rows.append(FileRow(name, "restored", size, entry.before["size"], "byte for byte"))
        for row in rows:
            entry = manifest.items.pop(row.path)
            place = inside(folder, entry.survives_in)
            # Only what packing wrote: a file that has changed since is not ours to remove.
            if entry.fate == "packed" and disk.is_plain_file(place) and file_digest(place) == entry.written:
                disk.remove_file(place)
        if not problems:
            disk.remove_file(folder / NAME)
        elif rows:
            manifest.save(folder)
        return SlimOutcome(manifest.kind, tuple(rows), tuple(problems), len(rows))


def _check_total(folder: Path, changed: dict[str, FileEntry]) -> None:
    """Refuse a manifest that makes far more of the directory than it holds, or than fits on the disk."""
    needed = sum(entry.before["size"] for name, entry in changed.items() if not (folder / name).exists())
    held = sum(disk.sizes(folder).values())
    most = scaled_limit(held)
    if needed > most:
        raise LimitError(
            f"{folder / NAME} makes {in_words(needed)} of {in_words(held)}; nothing was changed: if you trust it, "
            f"raise the limit of {in_words(most)} with --max-inflated."
        )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise HarnessError(
            f"{folder} takes {in_words(needed)} more when it is restored, and the disk has {in_words(free)} free; "
            "nothing was changed: free some space first."
        )


def _restore(folder: Path, name: str, entry: FileEntry, manifest: SlimManifest) -> None:
    path = inside(folder, name)
    if path.is_symlink() or path.exists():
        if entry.state == "begun" and disk.is_plain_file(path):
            return  # its slimming was begun and not finished: it is there, whatever it holds by now
        if not disk.is_plain_file(path) or file_digest(path) != entry.before["sha256"]:
            raise HarnessError("another file has this name now; remove or rename it")
        return
    found = read_entry(folder, name, manifest)
    if not found.exact:
        raise HarnessError(f"mode minimal gave up precision in it; {entry.survives_in} has what is left")
    if disk.digest(found.data) != entry.before["sha256"]:
        raise HarnessError(f"{entry.survives_in} does not give its original bytes")
    disk.write_whole(path, found.data, entry.mode, entry.mtime_ns)
