"""Which store, and how it is reached: what a run records of it, without any key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.errors import UsageError

FILE_CACHES = ("none", "readahead", "blockcache", "background", "all")
"""The caches of fsspec that a file in a store can be read through."""

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_OTHER_KEYS = (
    "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_METADATA_ENDPOINT",
)  # fmt: skip
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder in a bucket, and what stands between it and the reader.

    Attributes
    ----------
    url : str
        ``s3://bucket/prefix``.
    endpoint : str
        URL of the server; empty for Amazon's own.
    latency_ms : float
        What the shaper adds to each request; 0 for nothing.
    bandwidth : float
        To what the shaper limits all answers together, in bytes per second; 0 for no limit.
    fault : str
        What the shaper does wrong, as `harness.extensions.object_store.faults.parse_fault` reads it; empty for nothing.
    file_cache : str
        One of `FILE_CACHES`, for formats that are one file.
    block_bytes : int
        The unit that this cache fetches.
    """

    url: str
    endpoint: str = ""
    latency_ms: float = 0.0
    bandwidth: float = 0.0
    fault: str = ""
    file_cache: str = "blockcache"
    block_bytes: int = 1 << 20

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """The folder within the bucket, without slashes around it."""
        return urlsplit(self.url).path.strip("/")

    @property
    def shaped(self) -> bool:
        """Whether a shaper stands in front of the server."""
        return bool(self.latency_ms or self.bandwidth or self.fault)

    def describe_cache(self) -> str:
        """Say in a few words what formats that are one file are read through."""
        if self.file_cache in ("none", "all"):
            return {"none": "no cache of the file", "all": "the whole file, fetched when it is opened"}[self.file_cache]
        return f"fsspec's {self.file_cache} in blocks of {self.block_bytes >> 10} KiB, new with every reader"

    def describe(self) -> str:
        """Say in a few words where archives are and what was put in between."""
        said = f"{self.url} at {self.endpoint or 'Amazon S3'}"
        if not self.shaped:
            return f"{said}, not shaped"
        limit = f"at most {self.bandwidth / 1e6:g} MB/s" if self.bandwidth else "no limit of bandwidth"
        fault = f", with the fault {self.fault!r}" if self.fault else ""
        return f"{said}, shaped: {self.latency_ms:g} ms added to each request, {limit}{fault}"


def parse_place(url: str, environment: Mapping[str, str] = os.environ) -> Place:
    """Read a store's URL and find its endpoint.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``.
    environment : mapping
        Where the usual ``AWS_`` variables are looked up.

    Returns
    -------
    Place
        Not asked for anything yet.

    Raises
    ------
    UsageError
        When it is no such URL, the endpoint is none, or there are no keys.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise UsageError(f"--store takes s3://BUCKET/PREFIX, got {url!r}.")
    endpoint = next((environment[name] for name in _ENDPOINTS if environment.get(name)), "").rstrip("/")
    if endpoint and (urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname):
        raise UsageError(f"AWS_ENDPOINT_URL has to be a URL such as http://127.0.0.1:8333, it is {endpoint!r}.")
    if not all(environment.get(name) for name in _KEYS) and not any(environment.get(name) for name in _OTHER_KEYS):
        raise UsageError(
            f"There are no keys for {url}: set {' and '.join(_KEYS)}, or AWS_SKIP_SIGNATURE=true for a public bucket."
        )
    return Place(url=f"s3://{parts.netloc}/{parts.path.strip('/')}".rstrip("/"), endpoint=endpoint)
