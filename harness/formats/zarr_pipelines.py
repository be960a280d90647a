"""Codec pipelines of zarr-python, by the names of readers, and their configuration."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import zarr
import zarr.core.codec_pipeline
import zarr.core.sync
from numcodecs import blosc

from harness.capacity import capacity
from harness.formats.settings import UnsupportedReader
from harness.registry import missing_package

DEFAULT = "zarr-python"

PIPELINES: dict[str, dict[str, Any]] = {
    DEFAULT: {"path": "zarr.core.codec_pipeline.BatchedCodecPipeline"},
    "fused": {"path": "zarr.core.codec_pipeline.FusedCodecPipeline"},
    # Strict: otherwise it passes what it cannot read to zarr-python's own pipeline, with a warning.
    "zarrs": {"path": "zarrs.ZarrsCodecPipeline", "strict": True},
}
"""Settings of each reader in zarr's ``codec_pipeline``."""

_TURNS = threading.Lock()  # the setting applies to the complete process


def missing(name: str) -> str:
    """Return why a pipeline cannot be used here, as the end of a sentence; empty if it can."""
    if name == "fused" and not hasattr(zarr.core.codec_pipeline, "FusedCodecPipeline"):
        return f"needs zarr 3.4 or newer, which needs Python 3.12; here is zarr {zarr.__version__}"
    return missing_package("zarrs", "trace-format-harness[readers]") if name == "zarrs" else ""


@contextmanager
def using(name: str) -> Iterator[None]:
    """Use a pipeline for arrays that are opened or created in the block; they keep it, and other arrays keep theirs.

    Raises
    ------
    UnsupportedReader
        If the pipeline cannot read an array.
    """
    package = PIPELINES[name]["path"].partition(".")[0]
    refusals = () if package == "zarr" else (importlib.import_module(f"{package}.pipeline").UnsupportedMetadataError,)
    with _TURNS, zarr.config.set({f"codec_pipeline.{key}": value for key, value in PIPELINES[name].items()}):
        try:
            yield
        except refusals as error:
            raise UnsupportedReader(f"{name} cannot read it: {error.__cause__ or error}") from error


def take_threads() -> None:
    """Let zarr-python and its pipelines use one thread for each processor that this process may use.

    This applies to the process, and so to every reader: zarr-python starts its threads once, at the first use.
    """
    wanted = {f"{where}.max_workers": capacity().cores_usable for where in ("threading", "codec_pipeline")}
    if any(zarr.config.get(key, None) != number for key, number in wanted.items()):
        zarr.config.set(wanted)
        blosc.set_nthreads(capacity().cores_usable)  # for a chunk that the calling thread decodes itself


def pipeline_of(array: zarr.Array) -> str:
    """Return in words the pipeline of an opened array, its library's version and its settings, as the objects state."""
    pipeline: Any = array.async_array.codec_pipeline
    module = type(pipeline).__module__.partition(".")[0]
    other = "" if module == "zarr" else f", {module} {version(module)}"
    config = getattr(array, "config", None)  # zarr 3.1 has none of the following
    known = {
        "batches of {}": getattr(pipeline, "batch_size", None),
        "{} requests at once": zarr.config.get("async.concurrency"),
        "gaps of {} bytes read over": getattr(config, "sharding_coalesce_max_gap_bytes", None),
        "joined up to {} bytes": getattr(config, "sharding_coalesce_max_bytes", None),
    }
    stated = [words.format(value) for words, value in known.items() if value is not None]
    return ", ".join([f"zarr-python {zarr.__version__}{other}", type(pipeline).__name__, *stated])


def threads_of(array: zarr.Array) -> str:
    """Return in words how many threads the libraries of an opened array have, running and configured."""
    executor: Any = zarr.core.sync._executor
    running = "default" if executor is None else executor._max_workers
    asked = zarr.config.get("codec_pipeline.max_workers", None)
    found = f"{running} in zarr-python's pool, codec_pipeline.max_workers {asked}, Blosc {blosc.get_nthreads()}"
    if type(array.async_array.codec_pipeline).__module__.startswith("zarrs"):
        found += f", zarrs {zarr.config.get('threading.max_workers')}"
        found += f", RAYON_NUM_THREADS {os.environ.get('RAYON_NUM_THREADS', 'unset')}"
    return found
