"""What this process has asked stores for: requests, bytes and retries, counted where requests are sent."""

from __future__ import annotations

import threading

from harness.sampling.accounting import ReadCounts

_lock = threading.Lock()
_requests = _bytes_read = _retries = 0


def count(*, requests: int = 0, bytes_read: int = 0, retries: int = 0) -> None:
    """Add to the counts: each request that was sent, bodies that arrived whole, and what was sent again."""
    global _requests, _bytes_read, _retries
    with _lock:
        _requests += requests
        _bytes_read += bytes_read
        _retries += retries


class StoreCounter:
    """Counts what is asked of stores."""

    def __init__(self) -> None:
        self._before = _requests, _bytes_read, _retries

    def counts(self) -> ReadCounts:
        """Return what was asked for since the counter was made."""
        requests, bytes_read, retries = self._before
        return ReadCounts(_bytes_read - bytes_read, _requests - requests, _retries - retries)
