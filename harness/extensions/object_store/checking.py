"""Quick check that a store can be used: it exists, accepts the keys, and respects byte ranges."""

from __future__ import annotations

import secrets
from contextlib import closing, suppress

from harness.errors import ArchiveError, HarnessError, UsageError
from harness.extensions.object_store.address import S3Address
from harness.extensions.object_store.attempts import RangeError
from harness.extensions.object_store.client import Client

_BYTES = bytes(range(256)) * 4


def check_store(place: S3Address) -> None:
    """Check a store: read, write, read a part of, and remove a small object.

    Parameters
    ----------
    place : S3Address
        The store, with the address that the run will use.

    Raises
    ------
    UsageError
        If a step fails, within seconds; the message is one sentence that names the problem.
    """
    try:
        with closing(Client(place, timeout="10s", most_attempts=2)) as client:
            _check(client, f"harness-check-{secrets.token_hex(8)}")
    except RangeError as error:
        raise UsageError(
            f"The store at {place.server} does not keep to range requests ({str(error).rstrip('.')}): reads of parts "
            "cannot be measured on it."
        ) from error
    except HarnessError as error:
        raise UsageError(str(error)) from error


def _check(client: Client, name: str) -> None:
    with suppress(ArchiveError):  # read before any write: some stores create a missing bucket on a write
        client.whole(name)
    client.put(name, _BYTES)
    try:
        start, length = 300, 100
        last, size = client.tail(name, length)
        part = client.range(name, start, length)
        if (bytes(part), bytes(last), size) != (_BYTES[start : start + length], _BYTES[-length:], len(_BYTES)):
            raise RangeError("it sends other bytes than those of the range")
    finally:
        client.delete([name])
