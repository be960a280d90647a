"""How much something compressed may give: limits that guard against hostile files, and inflating within them."""

from __future__ import annotations

import lzma
import os
import sys
import zlib
from typing import Any, Literal

from harness.errors import HarnessError, UsageError

_INFLATED, _SMALL, _RATIO = 4 << 30, 128 << 20, 100
"""Without a stated size: the most bytes that are inflated, the most of a small file, and the most for each byte."""

_FED, _STEP = 1 << 16, 1 << 20
_RAISED = "HARNESS_MAX_INFLATED"  # in the environment, where worker processes look for it
_LZMA_MEMORY = 256 << 20  # bytes; a header may ask for a window of 4 GiB, and no preset of xz for more than 64 MiB

Packing = Literal["xz", "gzip", "deflate", "zstd"]
"""How bytes are compressed; ``deflate`` has no header, as within a zip file."""


class LimitError(HarnessError):
    """Something takes more than a limit that guards against hostile files."""


class Limits:
    """What a person raised on the command line, for this process and those that it starts.

    Attributes
    ----------
    inflated : int or None
        Bytes that something compressed may inflate to; None for the defaults of `inflation_limit` and `archive_limit`.
    """

    @property
    def inflated(self) -> int | None:
        """Bytes that something compressed may give; None for the defaults of `inflation_limit` and `archive_limit`."""
        text = os.environ.get(_RAISED, "")
        return int(text) if text.isdecimal() else None

    @inflated.setter
    def inflated(self, value: int | None) -> None:
        os.environ.pop(_RAISED, None)
        if value is not None:
            os.environ[_RAISED] = str(value)


limits = Limits()


def in_words(size: int) -> str:
    """Return a number of bytes as a person reads it, such as ``64 MiB``; exact, or to four digits."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.4g} {unit}"
    return f"{size} bytes"


def scaled_limit(size: int, small: int = _SMALL, ratio: int = _RATIO) -> int:
    """Return how many bytes something compressed of a size may give: `ratio` times as many, or `small` if that is more.

    What ``--max-inflated`` says replaces both.
    """
    return limits.inflated if limits.inflated is not None else max(small, ratio * size)


def inflation_limit(packed: int, stated: int | None = None) -> int:
    """Return how many bytes a compressed stream may inflate to.

    Parameters
    ----------
    packed : int
        Bytes of the stream.
    stated : int, optional
        The size that a document beside it states.

    Returns
    -------
    int
        What ``--max-inflated`` says, or else 4 GiB, and for a small stream 100 times its size or 128 MiB if that is
        more; never more than the stated size.
    """
    most = limits.inflated if limits.inflated is not None else min(_INFLATED, scaled_limit(packed, _SMALL))
    return most if stated is None else max(0, min(most, stated))


def archive_limit(packed: int) -> int:
    """Return how many bytes the tensors of an archive of a size may have.

    That is what ``--max-inflated`` says, or else 4 GiB, and 100 times the archive's size if that is more: every byte of
    it is read in parts, which costs time and no memory.
    """
    return scaled_limit(packed, _INFLATED)


def inflate(kind: Packing, data: bytes, name: str, stated: int | None = None) -> bytes:
    """Inflate streams, one behind the other as in a file, up to `inflation_limit`.

    Parameters
    ----------
    kind : {"xz", "gzip", "deflate", "zstd"}
        How they are compressed.
    data : bytes
        The streams.
    name : str
        What they are called in messages.
    stated : int, optional
        The size that a document beside them states.

    Raises
    ------
    LimitError
        When they give more; inflating stops there.
    HarnessError
        When they are truncated or damaged.
    UsageError
        When the package that reads ``zstd`` is missing.
    """
    broken = _zstd().ZstdError if kind == "zstd" else EOFError
    limit, out, at = inflation_limit(len(data), stated), bytearray(), 0
    view = memoryview(data)
    try:
        while at < len(view):
            one = _decompressor(kind)
            while not one.eof:
                # In small pieces: what a piece leaves over is copied each time.
                piece = view[at : at + _FED] if getattr(one, "needs_input", True) else b""
                before = len(out)
                out += one.decompress(piece, _STEP)
                if len(out) > limit:
                    raise _too_much(name, limit, stated)
                # zlib gives back what lzma keeps, and at the end of a stream says it twice.
                at += len(piece) - (0 if one.eof else len(getattr(one, "unconsumed_tail", b"")))
                if len(out) == before and not one.eof and at == len(view):
                    raise EOFError("it ends early")
            at -= len(one.unused_data)
            while at < len(view) and not view[at]:  # padding between streams
                at += max(1, len(piece := bytes(view[at : at + _FED])) - len(piece.lstrip(b"\0")))
    except (lzma.LZMAError, zlib.error, EOFError, broken) as error:
        raise HarnessError(f"{name} is truncated or damaged ({error}).") from error
    return bytes(out)


def _decompressor(kind: str) -> Any:
    if kind == "zstd":
        return _zstd().ZstdDecompressor()  # whose window has 128 MiB at most, whatever a header asks for
    if kind == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
    return zlib.decompressobj(zlib.MAX_WBITS | 16 if kind == "gzip" else -zlib.MAX_WBITS)


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise UsageError(
            "What is compressed with Zstandard needs a package: pip install 'trace-format-harness[zstd]'."
        ) from error
    return zstd


def _too_much(name: str, limit: int, stated: int | None) -> LimitError:
    if stated == limit:
        return LimitError(f"{name} inflates to more than the {in_words(limit)} that are stated for it.")
    return LimitError(
        f"{name} inflates to more than {in_words(limit)}; if you trust it, raise that with --max-inflated."
    )
