"""Pipes and devices where a command expects a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace

_TRACE = "synthetic:n_res=16,layers=1,heads=2"
_Place = Callable[[Path], object]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


_MAKERS: dict[str, _Place] = {"pipe": _pipe, "device": _device}


def hostile() -> Iterator[tuple[str, tuple[str, ...], _Place]]:
    """Yield a name, a command line and what puts its input into a folder."""
    for kind, put in _MAKERS.items():
        for command in _alone():
            yield f"{kind} for {' '.join(command)}", command, lambda folder, put=put: put(folder / "x")  # type: ignore[misc]
        for command in (("verify", "x"), ("inspect", "x"), ("convert", "x", "y.raw")):
            yield (
                f"{kind} within a Zarr folder, {command[0]}",
                command,
                lambda folder, put=put: _zarr(folder / "x", put),
            )  # type: ignore[misc]
        yield (
            f"{kind} for the metadata of Zarr",
            ("convert", "x", "y.raw"),
            lambda folder, put=put: _metadata(folder, put),
        )  # type: ignore[misc]
        for name in ("samples.csv", "run.json", "ledger.csv"):
            yield f"{kind} for {name}", ("report", "x"), lambda folder, put=put, name=name: _within(folder, name, put)  # type: ignore[misc]
        yield f"{kind} for a journal", ("verify", "x"), lambda folder, put=put: _within(folder, "journal", put)  # type: ignore[misc]


def _alone() -> Iterator[tuple[str, ...]]:
    yield from (("check", "x"), ("verify", "x"), ("inspect", "x"), ("convert", "x", "y.raw"))
    yield from (("slim", "x"), ("report", "x"), ("history", "show", "--file", "x"))
    for kind in ("prediction-pickle", "vizfold-attention", "seed-benchmark"):
        yield "convert", "x", "y.raw", "--kind", kind
    yield "convert", "synthetic:n_res=16,layers=1,heads=2", "y.npz", "--profile-file", "x"
    yield "run", "--profile-file", "x", "--out", "y"
    yield "tune", _TRACE, "--format", "zarr", "--mix", "x", "--out", "y"
    yield "capture", "--model", "openfold3-evoformer", "--fasta", "x", "--to", "raw:y.raw"


def _zarr(path: Path, put: _Place) -> None:
    write_archive(open_trace(_TRACE), load_format("zarr"), path)
    put(path / "unknown")


def _metadata(folder: Path, put: _Place) -> None:
    (folder / "x" / "representations").mkdir(parents=True)
    (folder / "x" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    (folder / "x" / "representations" / "single").mkdir()
    put(folder / "x" / "representations" / "single" / "zarr.json")


def _within(folder: Path, name: str, put: _Place) -> None:
    (folder / "x").mkdir()
    put(folder / "x" / name)
