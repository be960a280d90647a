"""The store ``s3``: its options and environment variables, its description, its check and its uploads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from harness.cli.options import integers
from harness.errors import UsageError, unknown_name
from harness.extensions.object_store.address import FAULTS, FILE_CACHES, S3Address, parse_fault
from harness.extensions.object_store.remotes import remote_of
from harness.formats.base import Format
from harness.run.store import ArchiveStore, Uploads

if TYPE_CHECKING:
    from harness.sampling.worker import Worker

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_OTHER_KEYS = (
    "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_METADATA_ENDPOINT",
)  # fmt: skip
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_CACHES = {"none": "no cache of the file", "all": "the whole file, fetched when it is opened"}


@dataclass(frozen=True, kw_only=True)
class S3Place(S3Address, ArchiveStore):
    """A store that speaks S3."""

    address: ClassVar[str] = "s3://BUCKET/PREFIX"
    environment: ClassVar[str] = "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
    options: ClassVar[Mapping[str, tuple[str, str]]] = {
        "store-latency": ("MS", "milliseconds that a proxy on loopback adds to each request (default: no proxy)"),
        "store-bandwidth": ("MB/S", "megabytes per second that it lets through at most (default: all)"),
        "store-fault": ("KIND", f"what it does wrong: {', '.join(FAULTS)}; "
                        "KIND:every=N for how often (default: nothing)"),
        "store-cache": ("TYPE[:KIB]", "fsspec's cache for files in the store, and its blocks: "
                        f"{', '.join(FILE_CACHES)} (default: blockcache:1024)"),
    }  # fmt: skip

    @classmethod
    def parse(cls, url: str, options: Mapping[str, str]) -> S3Place:
        values: dict[str, Any] = {}
        if (latency := options.get("store-latency")) is not None:
            (values["latency_ms"],) = integers(latency, "--store-latency", single=True, least=0)
        if (bandwidth := options.get("store-bandwidth")) is not None:
            values["bandwidth"] = integers(bandwidth, "--store-bandwidth", single=True)[0] * 1e6
        if (fault := options.get("store-fault")) is not None:
            if fault:
                parse_fault(fault)
            values["fault"] = fault
        if (cache := options.get("store-cache")) is not None:
            values["file_cache"], _, block = cache.partition(":")
            if values["file_cache"] not in FILE_CACHES:
                raise unknown_name("cache for --store-cache", values["file_cache"], FILE_CACHES)
            if block:
                values["block_bytes"] = 1024 * integers(block, "--store-cache", single=True)[0]
        return replace(parse_place(url), **values)

    def describe(self) -> str:
        said = f"{self.url} at {self.server}"
        if not self.shaped:
            return f"{said}, not shaped"
        limit = f"at most {self.bandwidth / 1e6:g} MB/s" if self.bandwidth else "no limit of bandwidth"
        fault = f", with the fault {self.fault!r}" if self.fault else ""
        return f"{said}, shaped: {self.latency_ms:g} ms added to each request, {limit}{fault}"

    def routes(self, backend: Format) -> tuple[str, ...]:
        return tuple(remote_of(backend).routes)

    def caches(self, backend: Format) -> str:
        blocks = f"fsspec's {self.file_cache} in blocks of {self.block_bytes >> 10} KiB, new with every reader"
        return remote_of(backend).caches(backend, _CACHES.get(self.file_cache, blocks))

    def named(self) -> str:
        return f"{self.url!r} at {self.server!r}"

    def require(self) -> None:
        try:
            from harness.extensions.object_store.checking import check_store
        except ImportError as error:
            needed = f"the package {error.name!r}: pip install 'trace-format-harness[s3]'"
            raise UsageError(f"Reading from a store needs {needed}.") from error
        check_store(self)

    @contextmanager
    def uploads(self, run_id: str, worker: Worker, folder: Path) -> Iterator[Uploads]:
        self.require()
        from harness.extensions.object_store.shaper import shaped
        from harness.extensions.object_store.uploads import UPLOADED, S3Uploads

        with shaped(self) as near:
            found = S3Uploads(near, run_id, worker, folder / UPLOADED)
            try:
                yield found
            finally:
                found.remove()


def parse_place(url: str, environment: Mapping[str, str] = os.environ) -> S3Place:
    """Parse a store's URL and find its endpoint.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``.
    environment : mapping
        Source of the usual ``AWS_`` variables.

    Returns
    -------
    S3Place
        The store; no request has been sent yet.

    Raises
    ------
    UsageError
        If the URL or the endpoint is malformed, or there are no keys.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"--store takes {S3Place.address}, got {url!r}.")
    endpoint = next((environment[name] for name in _ENDPOINTS if environment.get(name)), "").rstrip("/")
    if endpoint and (urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname):
        raise UsageError(f"AWS_ENDPOINT_URL has to be a URL such as http://127.0.0.1:8333, it is {endpoint!r}.")
    if not any(environment.get(name) for name in _OTHER_KEYS) and not all(environment.get(name) for name in _KEYS):
        raise UsageError(
            f"There are no keys for {url}: set {' and '.join(_KEYS)}, or AWS_SKIP_SIGNATURE=true for a public bucket."
        )
    return S3Place(url=f"s3://{parts.netloc}/{parts.path.strip('/')}".rstrip("/"), endpoint=endpoint)
