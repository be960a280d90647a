"""Address of a store as a run records it, without keys: location, endpoint, and settings of a proxy in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.errors import UsageError

FILE_CACHES = ("none", "readahead", "blockcache", "background", "all")
"""fsspec caches through which a file in a store can be read."""

FAULTS = {
    "drop": "the connection ends in the middle of a body",
    "500": "the server has an internal error",
    "503": "the server asks to slow down",
    "truncate": "a body is half as long as the range that its head states",
    "flip": "one bit of a body is wrong",
    "norange": "a range is answered as the whole object would be, with 200 in place of 206",
}
"""Description of each fault, by name."""

AT_ONCE = 8 << 20
"""Largest shard, in bytes of decoded values, that is fetched completely on first access: one wait instead of two."""

BLOCK = 1 << 20
"""Bytes of the blocks in which files of up to `KEPT_FILE` are fetched, so that neighbours of a window are present."""

KEPT_FILE = 32 << 20
"""Largest shard, in stored bytes, whose blocks are kept while the reader is open; of larger ones only the index is."""

_EVERY = "5"


@dataclass(frozen=True, kw_only=True)
class S3Address:
    """A folder in a bucket, and the settings of shaper and file cache between it and the reader."""

    url: str  # ``s3://bucket/prefix``.
    endpoint: str = ""  # URL of the server; empty for Amazon's own.
    latency_ms: float = 0.0  # Latency that the shaper adds to each request; 0 for none.
    bandwidth: float = 0.0  # The shaper's limit of all answers together, in bytes per second; 0 for no limit.
    fault: str = ""  # Fault of the shaper, in the syntax of `parse_fault`; empty for none.
    file_cache: str = "blockcache"  # One of `FILE_CACHES`, for formats that are one file.
    block_bytes: int = 1 << 20  # Bytes of the blocks that this cache fetches.

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
        """The endpoint for messages."""
        return self.endpoint or "Amazon S3"

    @property
    def shaped(self) -> bool:
        """Whether a shaper is in front of the server."""
        return bool(self.latency_ms or self.bandwidth or self.fault)


def beside(key: str) -> str:
    """Return the key of the references stored next to an archive."""
    return f"{key}.references.json"


def parse_fault(text: str) -> tuple[str, int]:
    """Parse ``KIND`` or ``KIND:every=N``; return the fault and N. The first and every N-th reading request have it.

    Raises
    ------
    UsageError
        If there is no such fault, or the text is malformed.
    """
    kind, _, rule = text.partition(":")
    every = rule.removeprefix("every=") if rule else _EVERY
    if kind not in FAULTS or not every.isdigit() or not int(every) or (rule and not rule.startswith("every=")):
        raise UsageError(f"A fault is KIND or KIND:every=N, with KIND one of {', '.join(FAULTS)}; got {text!r}.")
    return kind, int(every)
