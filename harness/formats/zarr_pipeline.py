"""The codec pipelines of zarr-python: its own, the one that fuses steps, and zarrs, written in Rust."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import zarr
import zarr.core.codec_pipeline

from harness.formats.settings import Parameter

DEFAULT_PIPELINE = "default"
_OTHERS = {"fused": "zarr.core.codec_pipeline.FusedCodecPipeline", "zarrs": "zarrs.ZarrsCodecPipeline"}
_SET = "codec_pipeline.path"
_TURNS = threading.Lock()  # the setting is one for the whole process


def _missing() -> dict[str, str]:
    """Say which pipelines cannot be used here, and why."""
    missing = {}
    if not hasattr(zarr.core.codec_pipeline, "FusedCodecPipeline"):
        missing["fused"] = f"it needs zarr 3.4 or newer, here is {zarr.__version__}"
    if importlib.util.find_spec("zarrs") is None:
        missing["zarrs"] = "it needs the package 'zarrs': pip install 'trace-format-harness[zarrs]'"
    return missing


def pipeline_parameter() -> Parameter:
    """Return the choice of a pipeline, with those that are installed as candidates."""
    missing = _missing()
    return Parameter(
        name="pipeline",
        about="what encodes and decodes chunks",
        default=DEFAULT_PIPELINE,
        values=(DEFAULT_PIPELINE, *(name for name in _OTHERS if name not in missing)),
        missing=tuple(missing.items()),
    )


@contextmanager
def using(name: str) -> Iterator[None]:
    """Give arrays that are opened or made inside the block a pipeline; they keep it.

    Parameters
    ----------
    name : {"default", "fused", "zarrs"}
        Which; the default is whatever zarr-python is set to.
    """
    with _TURNS:
        if name == DEFAULT_PIPELINE:
            yield
        else:
            with zarr.config.set({_SET: _OTHERS[name]}):
                yield
