"""Limits of the inflated size of compressed data, as a guard against hostile files, and inflating within them."""

from __future__ import annotations

import lzma
import os
import sys
import zlib
from typing import Any, Literal

from harness.errors import HarnessError, UsageError

_INFLATED, _SMALL, _RATIO = 4 << 30, 128 << 20, 100
"""Default limits of the inflated size: bytes in total, bytes of a small file, and bytes for each compressed byte."""

_FED, _STEP = 1 << 16, 1 << 20
_RAISED = "HARNESS_MAX_INFLATED"  # environment variable, so that worker processes inherit the limit
_LZMA_MEMORY = 256 << 20  # bytes; a header may request a window of 4 GiB, but no preset of xz more than 64 MiB

Packing = Literal["xz", "gzip", "deflate", "zstd"]
"""Compression of a stream; ``deflate`` has no header, as within a zip file."""


class LimitError(HarnessError):
    """A file exceeds a limit that guards against hostile files."""


class Limits:
    """Limits that the user set on the command line, for this process and the processes that it starts.

    Attributes
    ----------
    inflated : int or None
        Largest inflated size in bytes; None for the defaults of `inflation_limit` and `archive_limit`.
    """

    @property
    def inflated(self) -> int | None:
        """Largest inflated size in bytes; None for the defaults of `inflation_limit` and `archive_limit`."""
        text = os.environ.get(_RAISED, "")
        return int(text) if text.isdecimal() else None

    @inflated.setter
    def inflated(self, value: int | None) -> None:
        os.environ.pop(_RAISED, None)
        if value is not None:
            os.environ[_RAISED] = str(value)


limits = Limits()


def in_words(size: int) -> str:
    """Return a number of bytes as text, such as ``64 MiB``; exact, or to four digits."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.4g} {unit}"
    return f"{size} bytes"


def scaled_limit(size: int, small: int = _SMALL, ratio: int = _RATIO) -> int:
    """Return the limit in bytes for inflating `size` bytes: `ratio` times as many, or `small` if that is more.

    ``--max-inflated`` replaces both.
    """
    return limits.inflated if limits.inflated is not None else max(small, ratio * size)


def inflation_limit(packed: int, stated: int | None = None) -> int:
    """Return how many bytes a compressed stream may inflate to.

    Parameters
    ----------
    packed : int
        Bytes of the stream.
    stated : int, optional
        The inflated size that an accompanying document states.

    Returns
    -------
    int
        The value of ``--max-inflated``. By default 100 times the size of the stream, at least 128 MiB and at most
        4 GiB. Never more than the stated size.
    """
    most = limits.inflated if limits.inflated is not None else min(_INFLATED, scaled_limit(packed, _SMALL))
    return most if stated is None else max(0, min(most, stated))


def archive_limit(packed: int) -> int:
    """Return how many bytes the tensors of an archive of `packed` bytes may have.

    That is the value of ``--max-inflated``. By default it is 4 GiB, or 100 times the archive's size if that is more:
    every byte is read in parts, which costs time but no memory.
    """
    return scaled_limit(packed, _INFLATED)


def inflate(kind: Packing, data: bytes, name: str, stated: int | None = None) -> bytes:
    """Inflate concatenated streams, as in a file, up to `inflation_limit`.

    Parameters
    ----------
    kind : {"xz", "gzip", "deflate", "zstd"}
        Compression of the streams.
    data : bytes
        The streams.
    name : str
        Their name in messages.
    stated : int, optional
        The inflated size that an accompanying document states.

    Raises
    ------
    LimitError
        If they inflate to more; inflating stops there.
    HarnessError
        If they are truncated or damaged.
    UsageError
        If the package that reads ``zstd`` is missing.
    """
    broken = _zstd().ZstdError if kind == "zstd" else EOFError
    limit, out, at = inflation_limit(len(data), stated), bytearray(), 0
    view = memoryview(data)
    try:
        while at < len(view):
            one = _decompressor(kind)
            while not one.eof:
                # In small pieces, because the unused rest of a piece is copied each time.
                piece = view[at : at + _FED] if getattr(one, "needs_input", True) else b""
                before = len(out)
                out += one.decompress(piece, _STEP)
                if len(out) > limit:
                    raise _too_much(name, limit, stated)
                # zlib returns unused input, which lzma keeps; at the end of a stream, zlib returns it twice.
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
        return _zstd().ZstdDecompressor()  # its window has at most 128 MiB, whatever a header requests
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
