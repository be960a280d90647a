"""Find out in seconds whether a store can be used: is it there, does it take the keys, does it keep to ranges."""

from __future__ import annotations

import secrets
from contextlib import closing, suppress

from harness.errors import ArchiveError, HarnessError, UsageError
from harness.extensions.object_store.address import S3Address
from harness.extensions.object_store.attempts import RangeError
from harness.extensions.object_store.client import Client

_BYTES = bytes(range(256)) * 4


def check_store(place: S3Address) -> None:
    """Read, write, read a part, and remove a small object.

    Parameters
    ----------
    place : S3Address
        The store, as the run will reach it.

    Raises
    ------
    UsageError
        When something of that does not work; one sentence that names it, within seconds.
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
    with suppress(ArchiveError):  # before anything is written: some stores make a bucket that is missing
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
