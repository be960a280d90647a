"""Client of a store: range requests through obstore that are counted, checked for length, and retried after faults."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import obstore
from obstore.store import S3Store

from harness.extensions.object_store.address import S3Address
from harness.extensions.object_store.attempts import ATTEMPTS, FAULTS, RangeError, count, pause_after

WHOLE: Any = {"offset": 0}
"""Range of the complete object: the answer states the object's size in addition to its own length, so cuts show."""

CONCURRENCY = 16
"""Most simultaneous requests of one reader."""

_TIMEOUT, _CONNECT_TIMEOUT = "120s", "5s"

Answer = TypeVar("Answer")


def _connect(place: S3Address, folder: str, timeout: str) -> S3Store:
    """Return obstore's client for a folder of a place, with keys from the environment; it sends nothing yet."""
    options: dict[str, Any] = {"endpoint": place.endpoint} if place.endpoint else {}
    return S3Store(
        place.bucket,
        prefix="/".join(part for part in (place.prefix, folder) if part) or None,
        client_options={
            "allow_http": place.endpoint.startswith("http://"),
            "timeout": timeout,
            "connect_timeout": _CONNECT_TIMEOUT,
        },
        retry_config={"max_retries": 0},  # obstore does not report its retries; those of `Client` are counted
        **options,
    )


class Client:
    """Reader and writer of the objects of one folder of a store.

    Once the tag of an object is known, every further read requires that tag, so bytes of two versions are never mixed.

    Parameters
    ----------
    place : S3Address
        The store.
    folder : str
        Within the place's prefix.
    timeout : str
        For one request.
    most_attempts : int
        Number of attempts after which a fault is reported.
    """

    def __init__(
        self, place: S3Address, folder: str = "", *, timeout: str = _TIMEOUT, most_attempts: int = ATTEMPTS
    ) -> None:
        self.store = _connect(place, folder, timeout)
        self._most, self._where = most_attempts, f"{place.url}/{folder}".rstrip("/")
        self._tags: dict[str, str] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def whole(self, name: str) -> memoryview:
        """Return all bytes of an object."""
        return self._get(name, WHOLE)[0]

    def range(self, name: str, start: int, length: int) -> memoryview:
        """Return a part of an object.

        Raises
        ------
        HarnessError
            If the store cannot be reached, has no such object, or sends other bytes.
        """
        return self._get(name, (start, start + length))[0] if length else memoryview(b"")

    def tail(self, name: str, length: int) -> tuple[memoryview, int]:
        """Return the last `length` bytes of an object, or all bytes if it is shorter, and its size."""
        return self._get(name, {"suffix": length})

    def fetch(self, name: str, start: int, length: int) -> Future[memoryview]:
        """Start reading a part of an object, concurrently with other requests of this client."""
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(CONCURRENCY)
            return self._pool.submit(self.range, name, start, length)

    def size(self, name: str) -> int:
        """Return the size of an object, in bytes."""
        return int(self._send(name, lambda: obstore.head(self.store, name))["size"])

    def put(self, name: str, data: Any) -> None:
        """Store an object; replace an existing one of this name."""
        self._send(name, lambda: obstore.put(self.store, name, data, use_multipart=False))

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects."""
        for start in range(0, len(names), 1000):  # the protocol's limit per request
            part = list(names[start : start + 1000])
            self._send(f"{len(part)} objects", partial(obstore.delete, self.store, part))

    def _get(self, name: str, wanted: Any) -> tuple[memoryview, int]:
        return self._send(name, lambda: self._ask(name, wanted))

    def _ask(self, name: str, wanted: Any) -> tuple[memoryview, int]:
        answer = obstore.get(self.store, name, options=self._options(name, wanted))
        return self._checked(name, wanted, answer, memoryview(answer.bytes()))

    async def ask_later(self, name: str, wanted: Any) -> memoryview:
        """Return bytes as `whole`, `range` and `tail` do, for a library with an event loop."""

        async def ask() -> memoryview:
            answer = await obstore.get_async(self.store, name, options=self._options(name, wanted))
            return self._checked(name, wanted, answer, memoryview(await answer.bytes_async()))[0]

        return await self._send_later(name, ask)

    async def has_later(self, name: str) -> bool:
        """Return whether an object of this name exists."""

        async def ask() -> bool:
            try:
                await obstore.head_async(self.store, name)
            except FileNotFoundError:
                return False
            return True

        return await self._send_later(name, ask)

    def _options(self, name: str, wanted: Any) -> Any:
        options: dict[str, Any] = {"range": wanted}
        return options | ({"if_match": self._tags[name]} if name in self._tags else {})

    def _checked(self, name: str, wanted: Any, answer: Any, body: memoryview) -> tuple[memoryview, int]:
        size = int(answer.meta["size"])
        check_answer(name, wanted, tuple(answer.range), len(body), size)
        count(bytes_read=len(body))
        if answer.meta["e_tag"]:
            self._tags.setdefault(name, answer.meta["e_tag"])
        return body, size

    def _send(self, name: str, send: Callable[[], Answer]) -> Answer:
        number = 0
        while True:
            number += 1
            count(requests=1, retries=int(number > 1))
            try:
                return send()
            except FAULTS as error:
                time.sleep(pause_after(error, self._what(name), number, self._most))

    async def _send_later(self, name: str, send: Callable[[], Awaitable[Answer]]) -> Answer:
        number = 0
        while True:
            number += 1
            count(requests=1, retries=int(number > 1))
            try:
                return await send()
            except FAULTS as error:
                await asyncio.sleep(pause_after(error, self._what(name), number, self._most))

    def _what(self, name: str) -> str:
        return f"{self._where}/{name}".rstrip("/")

    def close(self) -> None:
        """Stop the threads, after running requests have ended, so that these are counted for the right sample."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def check_answer(name: str, wanted: Any, got: tuple[int, ...], length: int, size: int) -> None:
    """Compare an answer with its request.

    Parameters
    ----------
    name : str
        Name of the object.
    wanted : tuple of (int, int) or dict
        Start and stop, ``{"offset": start}`` or ``{"suffix": length}``.
    got : tuple of (int, int)
        Start and stop stated by the answer.
    length : int
        Bytes of the body.
    size : int
        Size of the object stated by the answer.

    Raises
    ------
    RangeError
        If the answer is another part of the object, or its body has another length than stated.
    """
    if isinstance(wanted, dict):
        start, stop = (wanted["offset"] if "offset" in wanted else max(0, size - wanted["suffix"])), size
    else:
        start, stop = wanted
    if got != (start, stop) or length != stop - start:
        raise RangeError(
            f"{name}: bytes {start} to {stop} were asked for, the store sent {length} bytes as {got[0]} to {got[1]}"
        )
