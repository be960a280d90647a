"""The matched profile: one codec, level, shuffle and chunk shape for every chunked format."""

from __future__ import annotations

from harness.formats.base import Codec, Layout
from harness.formats.layout import fitted_chunks
from harness.trace.schema import TensorSpec

MATCHED_CODEC = Codec(name="blosc-zstd", level=3, shuffle="byte")


def matched_layout(spec: TensorSpec) -> Layout:
    """Return the layout that every chunked format shares, so that only the container differs.

    Parameters
    ----------
    spec : TensorSpec
        The tensor.

    Returns
    -------
    Layout
        Blosc zstd level 3 with byte shuffle, as the seed's Zarr, in evenly cut chunks.
    """
    if not spec.shape:
        return Layout(origin="default", why="a scalar has no chunks")
    return Layout(
        chunks=fitted_chunks(spec, pair=32, attention=128, least=32 << 10, codec_only=True),
        codec=MATCHED_CODEC,
        origin="chosen",
        why="the same codec, level, shuffle and chunks in every format that has them",
    )
