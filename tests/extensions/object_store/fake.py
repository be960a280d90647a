"""A store that speaks as much of S3 as the client uses, in this process: no signatures are verified, only key names."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from harness.extensions.object_store.remotes import remote_of
from harness.formats.base import load_format

BUCKET, KEY = "traces", "testkey"


@dataclass
class FakeStore:
    """What the server holds and how it behaves."""

    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    ignores_ranges: bool = False

    def variables(self, key: str = KEY) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def fake_store() -> Iterator[FakeStore]:
    store = FakeStore()

    class Handler(_Handler):
        held = store

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    held: FakeStore

    def log_message(self, *_: object) -> None:
        return

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        self.held.requests.append((self.command, key, self.headers.get("Range") or ""))
        if f"Credential={KEY}/" not in (self.headers.get("Authorization") or ""):
            return self._error(403, "InvalidAccessKeyId")
        if bucket != BUCKET:
            return self._error(404, "NoSuchBucket")
        if self.command == "PUT":
            self.held.objects[key] = body
            return self._answer(200, ETag=_tag(body))
        if self.command == "POST":
            names = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for name in names:
                self.held.objects.pop(name, None)
            told = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
            return self._answer(200, f"<?xml version='1.0'?><DeleteResult>{told}</DeleteResult>".encode())
        if self.command == "DELETE":
            self.held.objects.pop(key, None)
            return self._answer(204)
        if key not in self.held.objects:
            return self._error(404, "NoSuchKey")
        return self._read(self.held.objects[key])

    def _read(self, data: bytes) -> None:
        common = {"ETag": _tag(data), "Last_Modified": "Sun, 01 Nov 2026 00:00:00 GMT", "Accept_Ranges": "bytes"}
        if self.headers.get("If-Match", _tag(data)) != _tag(data):
            return self._error(412, "PreconditionFailed")
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if asked is None or self.held.ignores_ranges:
            return self._answer(200, data, **common)
        first, last = asked.groups()
        start = int(first) if first else max(0, len(data) - int(last))
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        if start >= len(data):
            return self._error(416, "InvalidRange")
        return self._answer(206, data[start:stop], Content_Range=f"bytes {start}-{stop - 1}/{len(data)}", **common)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def routes_of(name: str) -> list[str]:
    """List the routes of a format, that of this project's own decoder among them."""
    remote = remote_of(load_format(name))
    return [*remote.routes, *(["own"] if remote.own else [])]
