"""Loopback proxy in a separate process that simulates a distant store: latency, limited bandwidth, and faults by rule.

``python -m harness.extensions.object_store.shaper`` is internal: `shaped` starts it, and it ends when its standard
input closes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit

from harness.errors import HarnessError, UsageError
from harness.extensions.object_store.address import S3Address, parse_fault

Place = TypeVar("Place", bound=S3Address)

_PIECE = 64 << 10  # most bytes forwarded at a time
_REFUSALS = {"500": ("Internal Server Error", "InternalError"), "503": ("Slow Down", "SlowDown")}
_In: TypeAlias = asyncio.StreamReader
_Out: TypeAlias = asyncio.StreamWriter


@contextmanager
def shaped(place: Place) -> Iterator[Place]:
    """Run a shaper in front of a store, if its place has settings for one.

    Parameters
    ----------
    place : S3Address
        With an ``http`` endpoint.

    Yields
    ------
    S3Place
        The place with the shaper's endpoint; unchanged without settings for a shaper.

    Raises
    ------
    UsageError
        If the endpoint is not plain ``http``: an encrypted connection cannot be shaped.
    """
    if not place.shaped:
        yield place
        return
    if urlsplit(place.endpoint).scheme != "http":
        raise UsageError("Latency, bandwidth and faults can be added in front of an http:// endpoint only.")
    settings = json.dumps([place.endpoint, place.latency_ms, place.bandwidth, place.fault])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, settings], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise HarnessError("The shaper in front of the store did not start.")
        yield dataclasses.replace(place, endpoint=f"http://127.0.0.1:{port}")
    finally:
        process.stdin.close()  # the shaper ends when its input closes, even if this process is killed
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class _Shaper:
    """Proxy that forwards requests with added latency, limited bandwidth, and configured faults."""

    def __init__(self, endpoint: str, latency_ms: float, bandwidth: float, fault: str) -> None:
        parts = urlsplit(endpoint)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._latency, self._bandwidth = latency_ms / 1e3, bandwidth
        self._fault, self._every = parse_fault(fault) if fault else ("", 1)
        self._free = 0.0  # time at which all accepted bytes have been sent over the limited line
        self._reads = 0

    async def serve(self, reader: _In, writer: _Out) -> None:
        """Serve one connection of a client through one connection to the server."""
        upstream: _Out | None = None
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, _Dropped):
            answers, upstream = await asyncio.open_connection(self._host, self._port, limit=1 << 20)
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_length(head))
                await asyncio.sleep(self._latency)
                await self._exchange((head, body), answers, upstream, writer)
        for open_writer in (upstream, writer):
            if open_writer is not None:
                open_writer.close()

    async def _exchange(self, request: tuple[bytes, bytes], answers: _In, upstream: _Out, writer: _Out) -> None:
        """Forward one request to the server, and its answer to the client."""
        head, body = request
        fault = self._next_fault(head)
        if fault in _REFUSALS:
            status, code = _REFUSALS[fault]
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>Try again later.</Message></Error>"
            writer.write(f"HTTP/1.1 {fault} {status}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            await writer.drain()
            return
        upstream.write(head + body)
        await upstream.drain()
        answer = await answers.readuntil(b"\r\n\r\n")
        if fault == "norange":  # a request for the complete object would break the signature, which covers the range
            answer = b"HTTP/1.1 200 OK\r\n" + _without(answer, b"content-range").partition(b"\r\n")[2]
        bodiless = head.startswith(b"HEAD ") or answer.split(b" ", 2)[1] in (b"204", b"304")
        if _header(answer, b"transfer-encoding"):
            writer.write(answer)
            await self._chunks(answers, writer)
        else:
            await self._body(answer, 0 if bodiless else _length(answer), fault, answers, writer)
        await writer.drain()

    def _next_fault(self, head: bytes) -> str:
        """Return the fault of a request; only GET requests have one."""
        if not head.startswith(b"GET "):
            return ""
        self._reads += 1
        return self._fault if (self._reads - 1) % self._every == 0 else ""

    async def _body(self, answer: bytes, length: int, fault: str, answers: _In, writer: _Out) -> None:
        """Forward an answer of known length, with the fault applied to its body."""
        sent = length // 2 if fault in ("drop", "truncate") else length
        if fault == "truncate" and length:
            answer = _without(answer, b"content-length")[:-2] + f"Content-Length: {sent}\r\n\r\n".encode()
        writer.write(answer)
        done = 0
        while done < length:
            piece = await answers.read(min(_PIECE, length - done))
            if not piece:
                raise _Dropped
            if fault == "flip" and done <= length // 2 < done + len(piece):
                at = length // 2 - done
                piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
            await self._send(piece[: max(0, sent - done)], writer)
            done += len(piece)
            if fault == "drop" and done >= sent:
                await writer.drain()
                raise _Dropped

    async def _chunks(self, answers: _In, writer: _Out) -> None:
        """Forward a chunked answer, up to its empty last chunk."""
        while True:
            line = await answers.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            writer.write(line)
            await self._send(await answers.readexactly(size + 2), writer)
            if not size:
                return

    async def _send(self, piece: bytes, writer: _Out) -> None:
        """Send a piece once the line, shared by all connections, is free."""
        if self._bandwidth and piece:
            now = time.monotonic()
            self._free = max(self._free, now) + len(piece) / self._bandwidth
            if self._free - now > 1e-3:  # shorter than a timer can wait
                await asyncio.sleep(self._free - now)
        writer.write(piece)
        await writer.drain()


class _Dropped(Exception):
    """A connection ends here, by a fault or because the server closed it."""


def _header(head: bytes, name: bytes) -> bytes:
    """Return the value of a header of a request or an answer; empty if the header is absent."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


def _length(head: bytes) -> int:
    return int(_header(head, b"content-length") or 0)


def _without(head: bytes, name: bytes) -> bytes:
    return b"\r\n".join(line for line in head.split(b"\r\n") if line.partition(b":")[0].strip().lower() != name)


async def _run(settings: str) -> None:
    server = await asyncio.start_server(_Shaper(*json.loads(settings)).serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # returns when the parent closes the input
    server.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(sys.argv[1]))
