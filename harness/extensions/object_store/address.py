"""Which store, how it is reached, and what a proxy in front of it does: what a run records of it, without any key."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.errors import UsageError

FILE_CACHES = ("none", "readahead", "blockcache", "background", "all")
"""The caches of fsspec that a file in a store can be read through."""

FAULTS = {
    "drop": "the connection ends in the middle of a body",
    "500": "the server has an internal error",
    "503": "the server asks to slow down",
    "truncate": "a body is half as long as the range that its head states",
    "flip": "one bit of a body is wrong",
    "norange": "a range is answered as the whole object would be, with 200 in place of 206",
}
"""What each fault is, by name."""

AT_ONCE = 8 << 20
"""Bytes of decoded values up to which a shard is fetched whole when it is first touched: one wait instead of two."""

BLOCK = 1 << 20
"""Bytes of the blocks in which files of up to `KEPT_FILE` are fetched; a window's neighbours are there already then."""

KEPT_FILE = 32 << 20
"""Stored bytes of a shard up to which its blocks are kept while the reader is open; of a larger one nothing is."""

_EVERY = "5"


@dataclass(frozen=True, kw_only=True)
class S3Address:
    """A folder in a bucket, and what stands between it and the reader."""

    url: str  # ``s3://bucket/prefix``.
    endpoint: str = ""  # URL of the server; empty for Amazon's own.
    latency_ms: float = 0.0  # What the shaper adds to each request; 0 for nothing.
    bandwidth: float = 0.0  # To what the shaper limits all answers together, in bytes per second; 0 for no limit.
    fault: str = ""  # What the shaper does wrong, as `parse_fault` reads it; empty for nothing.
    file_cache: str = "blockcache"  # One of `FILE_CACHES`, for formats that are one file.
    block_bytes: int = 1 << 20  # The unit that this cache fetches.

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """The folder within the bucket, without slashes around it."""
        return urlsplit(self.url).path.strip("/")

    @property
    def server(self) -> str:
        """The endpoint in words."""
        return self.endpoint or "Amazon S3"

    @property
    def shaped(self) -> bool:
        """Whether a shaper stands in front of the server."""
        return bool(self.latency_ms or self.bandwidth or self.fault)


def beside(key: str) -> str:
    """Return the key of what is stored beside an archive."""
    return f"{key}.references.json"


def parse_fault(text: str) -> tuple[str, int]:
    """Read ``KIND`` or ``KIND:every=N``: a fault, and that the first and every so many requests that read have it.

    Raises
    ------
    UsageError
        When there is no such fault.
    """
    kind, _, rule = text.partition(":")
    every = rule.removeprefix("every=") if rule else _EVERY
    if kind not in FAULTS or not every.isdigit() or not int(every) or (rule and not rule.startswith("every=")):
        raise UsageError(f"A fault is KIND or KIND:every=N, with KIND one of {', '.join(FAULTS)}; got {text!r}.")
    return kind, int(every)
