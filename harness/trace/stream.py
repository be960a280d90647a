"""Traces as streams: tensors as blocks of consecutive rows, never completely in memory."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import xxhash

from harness.errors import UsageError, unknown_name
from harness.scratch import room
from harness.trace.manifest import Manifest
from harness.trace.schema import SchemaError, TensorSpec

BLOCK_BYTES = 8 << 20
LARGE_BYTES = 512 << 20
"""A tensor of more bytes is read, compared and checked in blocks of rows, never completely in memory."""

BLOCK_ROWS = 32  # chunk edge of the earlier comparison; blocks end on its multiples, so that they rarely split a chunk


class Trace(ABC):
    """A source of tensors, described by a manifest, that can be streamed more than once."""

    label: str  # Name in records: the source with its parameters, without the sequence length.
    manifest: Manifest  # Manifest of the trace.

    @abstractmethod
    def blocks(self, path: str) -> Iterator[np.ndarray]:
        """Yield one tensor as consecutive blocks along its first axis; a scalar as one block.

        Yields
        ------
        ndarray
            C-contiguous, of the tensor's dtype; shape ``(rows, *shape[1:])``, or ``()`` for a scalar.
        """

    def check_unchanged(self, path: str) -> None:  # noqa: B027 - most are made, or are compared with a digest
        """Raise an error if the files from which a tensor is read changed since they were opened.

        Reading all blocks does this too. Call it after reading only some of them.
        """

    def identified(self) -> Trace:
        """Return the trace with the digests of the files from which it is read; this reads them once more.

        Return the trace itself if it has no such files, or their digests are known.
        """
        return self


def shown_label(name: str, manifest: Manifest) -> str:
    """Return a name with the limitations of the trace, such as untrained weights."""
    marks = [mark for mark in manifest.lacks if mark != "sampled"]  # `first_layers` adds the numbers of layers
    return f"{name} ({', '.join(marks)})" if marks else name


class MemoryTrace(Trace):
    """A trace in memory, with one array for every tensor of the manifest, by path."""

    def __init__(self, label: str, manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> None:
        self.label = shown_label(label, manifest)
        self.manifest = manifest
        self._arrays = {spec.path: check_array(spec, arrays[spec.path]) for spec in manifest.tensors}

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        yield from split(self._arrays[path])


class TraceView(Trace):
    """A view of some tensors of a trace, each under one or more names.

    Parameters
    ----------
    trace : Trace
        The trace.
    names : mapping of TensorSpec to str
        Path in the trace, by specification in the view.
    """

    def __init__(self, trace: Trace, names: Mapping[TensorSpec, str]) -> None:
        self._trace = trace
        self._source = {spec.path: path for spec, path in names.items()}
        self.label = trace.label
        loss = trace.manifest.loss and trace.manifest.loss.under(self._source)
        self.manifest = dataclasses.replace(trace.manifest, tensors=tuple(names), digests={}, loss=loss)

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        return self._trace.blocks(self._source[path])

    def check_unchanged(self, path: str) -> None:
        self._trace.check_unchanged(self._source[path])


@dataclass(frozen=True, kw_only=True)
class TraceSource:
    """A source of traces, selected by ``--trace NAME[:key=value,...]``."""

    name: str  # Registered name.
    description: str  # One line for ``harness list``.
    # Takes the text after the colon and the sequence length or None; returns a `Trace`.
    open: Callable[[str, int | None], Trace]
    sized: bool = False  # Whether the trace can have any sequence length, so that ``--sizes`` applies.
    # Returns why the source is unavailable and what to do; empty if it is available.
    missing: Callable[[], str] = lambda: ""
    paths: Callable[[str], tuple[str, ...]] = lambda text: ()  # Takes the same text as `open`; returns the named files.


ParameterValues = range | tuple[str, ...] | None
"""Allowed values of a trace parameter: an integer in a range, one of several words, or any text (None)."""


def parse_parameters(text: str, known: Mapping[str, ParameterValues], source: str) -> dict[str, Any]:
    """Parse ``key=value,key=value``, the text after the colon of ``--trace``, into a dictionary.

    Parameters
    ----------
    text : str
        May be empty.
    known : mapping of str to ParameterValues
        Allowed values of each key of the source.
    source : str
        Name of the source, for messages.

    Raises
    ------
    UsageError
        For a pair without ``=``, an unknown key, a key given twice or a value that is not allowed.
    """
    values: dict[str, Any] = {}
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not value:
            raise UsageError(f"The trace parameter {pair!r} of {source!r} must have the form key=value.")
        if key not in known:
            choices = f"choose among {', '.join(known)}" if known else "it takes none"
            raise UsageError(f"The trace source {source!r} has no parameter {key!r}; {choices}.")
        if key in values:
            raise UsageError(f"The trace parameter {key!r} of {source!r} is given twice.")
        values[key] = _allowed_value(key, value, known[key], source)
    return values


def _allowed_value(key: str, value: str, allowed: ParameterValues, source: str) -> Any:
    if isinstance(allowed, tuple) and value not in allowed:
        raise unknown_name(f"choice of {key!r} for {source!r}", value, allowed)
    if not isinstance(allowed, range):
        return value
    # A number of more than twenty digits is out of every range, and slow to parse.
    if not (value.isascii() and value.isdigit() and len(value) <= 20) or int(value) not in allowed:
        raise UsageError(
            f"The trace parameter {key}={value[:40]} of {source!r} must be a whole number from {allowed.start} to "
            f"{allowed.stop - 1}."
        )
    return int(value)


def check_array(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    """Return an array in C order, little-endian; raise `SchemaError` if its shape or dtype is not that of `spec`."""
    if array.shape != spec.shape or array.dtype.name != spec.dtype:
        raise SchemaError(
            f"{spec.path}: expected shape {spec.shape} and dtype {spec.dtype}, "
            f"got shape {array.shape} and dtype {array.dtype.name}."
        )
    return np.asarray(array, dtype=np.dtype(spec.dtype).newbyteorder("<"), order="C")


def block_rows(shape: tuple[int, ...], itemsize: int, limit: int = BLOCK_BYTES) -> int:
    """Return the number of rows of a block: as many as fit in `limit` bytes, if possible a multiple of `BLOCK_ROWS`."""
    row = prod(shape[1:]) * itemsize
    if not row:  # rows without values take no memory
        return max(1, shape[0])
    rows = limit // row
    return max(1, rows if rows < BLOCK_ROWS else rows - rows % BLOCK_ROWS)


def split(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array in blocks of `block_rows` rows."""
    if array.ndim == 0:
        yield array
        return
    step = block_rows(array.shape, array.itemsize)
    for start in range(0, array.shape[0], step):
        yield array[start : start + step]


def read_whole(trace: Trace, path: str) -> np.ndarray:
    """Read one tensor of a trace into memory."""
    spec = trace.manifest[path]
    blocks = list(trace.blocks(path))
    return (np.concatenate(blocks) if spec.shape and blocks else np.array(blocks, spec.dtype)).reshape(spec.shape)


def first_rows(trace: Trace, path: str, count: int) -> Iterator[np.ndarray]:
    """Yield the first `count` rows of a tensor, in blocks; later blocks are not read."""
    for block in trace.blocks(path):
        yield block[:count]
        count -= len(block)
        if count <= 0:
            trace.check_unchanged(path)
            return


def regroup(blocks: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Yield the same rows in blocks whose length is a multiple of `rows`, except the last.

    A block is a view if it needs no joining of rows, else a copy.
    """
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        if block.ndim == 0:
            yield block
            continue
        held.append(block)
        count += len(block)
        if count >= rows:
            joined = held[0] if len(held) == 1 else _joined(held)
            whole = count - count % rows
            held = [_joined([joined[whole:]])] if whole < count else []  # a copy: releases the joined rows
            count -= whole
            yield joined[:whole]
    if held:
        yield held[0] if len(held) == 1 else _joined(held)


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    """Return a copy of blocks, joined into one."""
    return np.concatenate(blocks, out=room((sum(map(len, blocks)), *blocks[0].shape[1:]), blocks[0].dtype))


class Digest:
    """Digest of a tensor's bytes: XXH3 with 128 bits over the values in C order, little-endian.

    It runs at memory speed, so that every read can be verified; the complete archive is sealed with SHA-256
    (`harness.formats.seal`). Algorithm: https://github.com/Cyan4973/xxHash.
    """

    def __init__(self) -> None:
        self._state = xxhash.xxh3_128()

    def update(self, block: np.ndarray) -> None:
        """Add the bytes of a block."""
        self._state.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)

    def hexdigest(self) -> str:
        """Return 32 hexadecimal digits."""
        return self._state.hexdigest()


def digest_blocks(blocks: Iterable[np.ndarray]) -> str:
    """Return the digest of an array that is given in blocks (see `Digest`)."""
    state = Digest()
    for block in blocks:
        state.update(block)
    return state.hexdigest()


def digest(array: np.ndarray) -> str:
    """Return the digest of one array (see `Digest`)."""
    return digest_blocks([array])


def recut(made: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Yield the same rows in blocks of `rows` rows; the last may be shorter."""
    for block in regroup(made, rows):
        for start in range(0, len(block), rows):
            yield block[start : start + rows]
