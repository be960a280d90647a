"""Restoring of a slimmed directory, byte for byte."""

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
    """Restore every file that slimming packed or removed as a copy.

    Parameters
    ----------
    folder : Path
        The directory.

    Returns
    -------
    SlimOutcome
        One row per restored file; its problems name the files that could not be restored and stay as they are.

    Raises
    ------
    UsageError
        If the directory is not slimmed.
    HarnessError
        If its manifest is damaged or newer, or the disk is full; no file is lost then.
    """
    with disk.changing(folder):
        manifest = load_manifest(folder)
        if manifest is None:
            raise UsageError(f"{folder} is not slimmed: it has no {NAME}.")
        disk.clear_partials(folder)
        changed = {name: entry for name, entry in sorted(manifest.items.items()) if entry.fate != "kept"}
        _check_total(folder, changed)
        rows, problems = [], []
        # Restore all files before packed ones are removed, because a copy needs the file that has its bytes.
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
            # Remove only files that packing wrote and nobody changed since.
            if entry.fate == "packed" and disk.is_plain_file(place) and file_digest(place) == entry.written:
                disk.remove_file(place)
        if not problems:
            disk.remove_file(folder / NAME)
        elif rows:
            manifest.save(folder)
        return SlimOutcome(manifest.kind, tuple(rows), tuple(problems), len(rows))


def _check_total(folder: Path, changed: dict[str, FileEntry]) -> None:
    """Raise an error if restoring needs far more bytes than the directory holds, or more than the disk has free."""
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
            return  # slimming did not finish, so the original still exists, possibly changed since
        if not disk.is_plain_file(path) or file_digest(path) != entry.before["sha256"]:
            raise HarnessError("another file has this name now; remove or rename it")
        return
    found = read_entry(folder, name, manifest)
    if not found.exact:
        raise HarnessError(f"mode minimal gave up precision in it; {entry.survives_in} has what is left")
    if disk.digest(found.data) != entry.before["sha256"]:
        raise HarnessError(f"{entry.survives_in} does not give its original bytes")
    disk.write_whole(path, found.data, entry.mode, entry.mtime_ns)
