"""Maintained readers of Zarr, by name: for plain archives, and for those whose arrays a reader above locates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness.formats.base import Reader, ReaderSpec
from harness.formats.zarr_pipelines import missing
from harness.formats.zarr_reader import ZarrReader
from harness.registry import missing_package

Above = Callable[[Path, Reader], Reader]
"""Takes an archive and the reader of its arrays, which it closes if it raises; returns the reader of its tensors."""

_BY_PIPELINE = {
    "zarr-python": "zarr-python with its default pipeline, arrays held",
    "fused": "zarr-python with its FusedCodecPipeline, which has to be asked for, arrays held",
    "zarrs": "zarr-python with the pipeline of zarrs, in Rust, arrays held",
}


def _as_it_is(path: Path, inner: Reader) -> Reader:
    return inner


def maintained(above: Above = _as_it_is) -> dict[str, ReaderSpec]:
    """Return the readers by name, the stock reader first."""
    specs = {
        name: ReaderSpec(open=partial(_by_zarr_python, above, name), about=about, missing=partial(missing, name))
        for name, about in _BY_PIPELINE.items()
    }
    lacks = partial(missing_package, "tensorstore", "trace-format-harness[readers]")
    about = "tensorstore, arrays held"
    specs["tensorstore"] = ReaderSpec(open=partial(_by_tensorstore, above), about=about, cached=True, missing=lacks)
    return specs


def _by_zarr_python(above: Above, name: str, path: Path) -> Reader:
    return above(path, ZarrReader(path, name))


def _by_tensorstore(above: Above, path: Path, cache_bytes: int | None = None) -> Reader:
    from harness.formats.tensorstore_reader import TensorstoreReader  # 20 MB that not every installation has

    return above(path, TensorstoreReader(path, cache_bytes))
