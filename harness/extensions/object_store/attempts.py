"""Accounting and retries of requests to stores: transient faults are retried, permanent ones explained."""

from __future__ import annotations

import random
import re
import threading

from obstore import exceptions

from harness.errors import ArchiveError, HarnessError, MachineError, UsageError
from harness.sampling.counters import ReadCounts

ATTEMPTS = 5
"""Attempts of a request before its fault is reported."""

_FIRST_PAUSE = 0.05  # seconds; doubled with each further attempt, plus a random part so that threads do not coincide
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_NOT_PARTIAL = re.compile(r"NotPartial|not a partial|UnexpectedRange|range mismatch", re.IGNORECASE)
_PASSING = (408, 429)  # in addition to every 5xx

_lock = threading.Lock()
_requests = _bytes_read = _retries = 0


class StoreError(HarnessError):
    """A store refused a request or did not keep to its protocol."""


class StoreLostError(StoreError, MachineError):
    """A store could not be reached, or still failed after all retries."""


class RangeError(StoreError):
    """A store sent bytes other than the requested ones."""


FAULTS = (exceptions.BaseError, OSError, RangeError)
"""Exceptions of a request that the store or the network causes."""


def count(*, requests: int = 0, bytes_read: int = 0, retries: int = 0) -> None:
    """Add to this process's counters: requests sent, bytes of complete bodies, and retries."""
    global _requests, _bytes_read, _retries
    with _lock:
        _requests += requests
        _bytes_read += bytes_read
        _retries += retries


class StoreCounter:
    """Counter of requests to stores since its creation."""

    def __init__(self) -> None:
        self._before = _requests, _bytes_read, _retries

    def counts(self) -> ReadCounts:
        """Return bytes read, requests and retries since the creation."""
        requests, bytes_read, retries = self._before
        return ReadCounts(_bytes_read - bytes_read, _requests - requests, _retries - retries)


def pause_after(error: Exception, what: str, number: int, most: int) -> float:
    """Return the seconds to wait before a retry; raise an explained error if there is no retry.

    Parameters
    ----------
    error : Exception
        One of `FAULTS`.
    what : str
        The requested object, for the error.
    number, most : int
        Number of attempts so far, and the number after which the fault is reported.
    """
    if number == most or not passing(error):
        raise explained(error, what, number) from error
    return _FIRST_PAUSE * 2 ** (number - 1) * (1 + random.random())


def passing(error: BaseException) -> bool:
    """Return whether a fault is transient, so that the same request may succeed later."""
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    if isinstance(error, RangeError):
        return True  # the body may be cut; a store that ignores ranges fails at every attempt and is then reported
    status = _STATUS.search(str(error))
    if status:
        return int(status[1]) >= 500 or int(status[1]) in _PASSING
    return isinstance(error, exceptions.GenericError | OSError)


def explained(error: BaseException, what: str, number: int = 1) -> HarnessError:
    """Return an error of the harness that explains a fault in one sentence.

    Parameters
    ----------
    error : BaseException
        The exception from obstore.
    what : str
        The requested object.
    number : int
        Number of attempts.
    """
    text = str(error)
    code = (_CODE.search(text) or ["", ""])[1]
    status = (_STATUS.search(text) or ["", ""])[1]
    times = f" after {number} attempts" if number > 1 else ""
    if isinstance(error, HarnessError):
        return type(error)(f"{str(error).rstrip('.')}{times}.")
    if code == "NoSuchBucket":
        return UsageError(f"There is no such bucket: {what}. Create it, or name another.")
    if isinstance(error, FileNotFoundError):
        return ArchiveError(f"The store has no object {what}.")
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError) or status in (
        "401",
        "403",
    ):
        return UsageError(
            f"The store refused the keys ({code or status}) for {what}: check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and what they may do."
        )
    if isinstance(error, exceptions.PreconditionError):
        return StoreError(f"{what} was changed in the store while it was read.")
    if _NOT_PARTIAL.search(text):
        return RangeError(f"{what}: the store sent another part than the range that was asked for{times}.")
    if status:
        refused = StoreLostError if passing(error) else StoreError
        return refused(f"The store answered {what} with {status}{f' ({code})' if code else ''}{times}.")
    if "kind: Connect" in text:
        return StoreLostError(f"The store cannot be reached for {what}{times}: check AWS_ENDPOINT_URL and the network.")
    if "TimedOut" in text or "kind: Timeout" in text:
        return StoreLostError(f"The store did not answer {what} in time{times}.")
    first = (text.strip().splitlines() or [type(error).__name__])[0][:200]
    return StoreLostError(f"The store failed for {what}{times}: {first.rstrip('.')}.")
