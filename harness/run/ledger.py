"""The fairness ledger: the settings of each format, whether each is a default or a choice, and why."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from harness.files import write_text
from harness.formats.base import Format, UnsupportedProfile, load_format
from harness.formats.describing import StatesSettings
from harness.formats.settings import configured
from harness.run.config import RunConfig
from harness.run.preparation import Prepared
from harness.run.store import ArchiveStore
from harness.run.subject import Arm, Subject
from harness.trace.manifest import Manifest

LEDGER_COLUMNS = [
    "trace", "n_res", "format", "profile", "read_by", "role", "example", "shape", "chunks", "shards", "codec", "origin",
    "why", "versions", "threads", "caches", "reader", "cache_bytes", "writer", "checked",
]  # fmt: skip
OWN_WRITER = "code of this project"
"""In the column ``writer``, for formats that this project's code writes."""
NOT_STATED = "not stated"
"""In the columns ``chunks`` and ``codec``, for formats that do not state their layout."""

_PLACE = ["trace", "n_res", "format", "profile", "read_by", "example"]


class LedgerFile:
    """``ledger.csv``: the requested settings of each format, later replaced by those that the opened archive reports.

    Parameters
    ----------
    path : Path
        The file. Values that earlier sessions of the run read from opened archives are kept.
    table : DataFrame
        From `ledger`.
    """

    def __init__(self, path: Path, table: pd.DataFrame) -> None:
        self._path = path
        # As text, as in the file, so that numbers stay the same and empty fields stay empty.
        text = path.read_text() if path.exists() else ""
        self._table = _as_text(table.to_csv(index=False))
        if text and list((earlier := _as_text(text)).columns) == LEDGER_COLUMNS:
            known = earlier[earlier["reader"] != ""].set_index(_PLACE).to_dict("index")
            for row in self._table.index:
                read_back = known.get(tuple(self._table.loc[row, _PLACE]), {})
                self._table.loc[row, list(read_back)] = list(read_back.values())
        self._write()

    def add(self, subject: Subject, prepared: Prepared) -> None:
        """Replace the requested settings by those that readers of a subject's archives report."""
        n_res = subject.n_res
        here = (self._table["trace"] == subject.label) & (
            self._table["n_res"] == "" if n_res is None else pd.to_numeric(self._table["n_res"]) == n_res
        )
        told = {arm: written.opened for arm, written in prepared.writes.items()} | prepared.opened
        for arm, found in told.items():
            mine = here & (self._table["format"] == arm.label) & (self._table["profile"] == arm.profile)
            mine &= self._table["read_by"] == arm.reader
            for path, opened in found.items():
                row = mine & (self._table["example"] == path)
                self._table.loc[row, ["chunks", "shards", "codec"]] = [
                    _chunks(opened.chunks), _shape(opened.shards) if opened.shards else "", opened.codec,
                ]  # fmt: skip
                if arm.route:  # this reader opened a local archive, not the one in the store
                    continue
                kept = [opened.reader, opened.cache, str(opened.cache_bytes)]
                self._table.loc[row, ["reader", "caches", "cache_bytes"]] = kept
                if opened.threads:
                    self._table.loc[row, "threads"] = opened.threads
        self._write()

    def _write(self) -> None:
        write_text(self._path, self._table.to_csv(index=False))


def _as_text(csv: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(csv), dtype=str, keep_default_na=False)


def ledger(manifests: Sequence[tuple[str, Manifest]], arms: Sequence[Arm], config: RunConfig) -> pd.DataFrame:
    """List the requested settings of every contender, and of the raw ceiling, for every role of tensor.

    Parameters
    ----------
    manifests : sequence of (str, Manifest)
        Label and manifest of each trace of the run.
    arms : sequence of Arm
        Arms of the run.
    config : RunConfig
        Configuration of the run.

    Returns
    -------
    DataFrame
        Columns `LEDGER_COLUMNS`. A profile that a format does not support has one row with the reason. ``reader`` and
        ``cache_bytes`` are empty, because only an opened archive reports them: see `LedgerFile`.
    """
    rows = []
    for label, manifest in manifests:
        examples = manifest.examples()
        for arm in (arm for arm in arms if not arm.contender.is_control and arm.route in ("", "ranges")):
            common = {
                "trace": label,
                "n_res": manifest.length,
                "format": arm.label,
                "profile": arm.profile,
                "read_by": arm.reader,
            }
            if arm.missing:
                rows.append({**common, "origin": "skipped", "why": arm.missing})
                continue
            backend = load_format(arm.backend)
            try:
                backend.require(manifest, arm.settings)
            except UnsupportedProfile as error:
                rows.append({**common, "origin": "skipped", "why": str(error)})
                continue
            verifies = not arm.reader or backend.readers[arm.reader].verifies
            for role, spec in sorted(examples.items()):
                layout = backend.layout(spec, arm.settings)
                rows.append(
                    {
                        **common,
                        "role": role.value,
                        "example": spec.path,
                        "shape": _shape(spec.shape),
                        "chunks": _chunks(layout.chunks) if layout.stated else NOT_STATED,
                        "shards": _shape(layout.shards) if layout.shards else "",
                        "codec": str(layout.codec or "none") if layout.stated else NOT_STATED,
                        "origin": layout.origin,
                        "why": layout.why,
                        **_settings(configured(backend, arm.settings), config.store),
                        "reader": "",
                        "cache_bytes": "",
                        "writer": OWN_WRITER if backend.own_writer else "its library",
                        "checked": "yes" if layout.checked and verifies else "",
                    }
                )
    return pd.DataFrame(rows, columns=LEDGER_COLUMNS)


def _settings(backend: Format, store: ArchiveStore | None) -> dict[str, str]:
    """Return the settings that apply to every tensor; for reads from a store, ``caches`` also names the store."""
    settings = backend.settings() if isinstance(backend, StatesSettings) else {}
    if store is not None:
        settings["caches"] = f"{store.caches(backend)}; read from {store.describe()}"
    return settings


def _chunks(chunks: tuple[int, ...] | None) -> str:
    return _shape(chunks) if chunks else "contiguous"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
