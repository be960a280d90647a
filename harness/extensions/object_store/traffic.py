"""What this process has asked stores for: requests, bytes and retries, counted where requests are sent."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Traffic:
    """Counts of one process so far.

    Attributes
    ----------
    requests : int
        Sent, each retry and each look at an object's size included.
    bytes_read : int
        Of bodies that arrived whole.
    retries : int
        Requests that were sent again after a fault.
    """

    requests: int = 0
    bytes_read: int = 0
    retries: int = 0


_lock = threading.Lock()
_total = Traffic()


def count(*, requests: int = 0, bytes_read: int = 0, retries: int = 0) -> None:
    """Add to the counts."""
    global _total
    with _lock:
        _total = replace(
            _total,
            requests=_total.requests + requests,
            bytes_read=_total.bytes_read + bytes_read,
            retries=_total.retries + retries,
        )


def traffic() -> Traffic:
    """Return what this process has counted so far."""
    return _total
