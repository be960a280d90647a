"""Find out what kind of source a path is, and read it."""

from __future__ import annotations

from pathlib import Path

from harness import registry
from harness.errors import UsageError
from harness.extensions.importing.source import ImportedTrace, Importer
from harness.files import check_regular


def read_source(path: Path, kind: str | None = None) -> ImportedTrace:
    """Read a file or folder that another program wrote as a trace; its kind is found from the content if not given.

    Raises
    ------
    UsageError
        When there is nothing at the path, or nothing that is known.
    SourceError
        When it is truncated, damaged, or not of that kind.
    """
    if not path.exists():
        raise UsageError(f"There is no file or folder {path}.")
    if not path.is_dir():
        check_regular(path)
    if not (any(path.iterdir()) if path.is_dir() else path.stat().st_size):
        raise UsageError(f"{path} is empty; there is nothing to import.")
    if kind is not None:
        importer: Importer = registry.load("importers", kind)
        return importer.read(path)
    listed = registry.listing("importers")
    found = [one.plugin for one in listed if one.plugin]
    fitting = [importer for importer in found if importer.recognises(path)]
    if len(fitting) == 1:
        return fitting[0].read(path)
    if fitting:
        names = " or ".join(f"--kind {importer.name}" for importer in fitting)
        raise UsageError(f"{path} can be read in more than one way; say which with {names}.")
    known = ", ".join(importer.name for importer in found)
    raise UsageError(
        f"{path} is nothing that can be imported: it was recognised as none of {known} ('harness list importers'); "
        "an archive of this harness is read with 'harness convert'." + registry.failed_imports(listed)
    )
