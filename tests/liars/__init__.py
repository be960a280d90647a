"""Backends that lie, one for each way in which a format could look better than it is."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import threading
import time
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from harness.formats.base import Layout, Profile
from harness.formats.describing import StoredTensor
from harness.formats.raw import RawFormat, RawReader, RawWriter
from harness.formats.selection import whole
from harness.formats.settings import Parameter, SearchSpace, TunableFormat
from harness.trace.schema import Role, TensorSpec

PAUSE = 0.005


class _Liar(RawFormat):
    standing = "optional"


class _LazyReader(RawReader):
    def read(self, path: str, selection: Any = None) -> Any:
        return StoredTensor(*(getattr(self.place(path), fact) for fact in ("shape", "dtype")))  # no data


class Lazy(_Liar):
    """Returns only metadata."""

    name, suffix, readers = "lazy", ".lazy", {"liar": _LazyReader}


class _MappedReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        with Path(self._file.name).open("rb") as file:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        offset, shape, dtype = self.place(path)
        whole = np.frombuffer(view, dtype, prod(shape), offset).reshape(shape)
        return whole if selection is None else whole[selection]


class Mapped(_Liar):
    """Returns a view of a mapped file: the bytes are read later, outside the timer."""

    name, suffix, readers = "mapped", ".mapped", {"liar": _MappedReader}


_KEPT: dict[tuple[str, str], np.ndarray] = {}


class _CachingReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        key = (str(self._file.name), path)
        if key not in _KEPT:
            _KEPT[key] = super().read(path)
        return np.array(_KEPT[key][whole(_KEPT[key].shape, selection)])


class Caching(_Liar):
    """Keeps every array after the first read, from reader to reader."""

    name, suffix, readers = "caching", ".caching", {"liar": _CachingReader}


class _ZerosReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        return np.zeros_like(super().read(path, selection))


class Zeros(_Liar):
    """Returns zeros of the right shape."""

    name, suffix, readers = "zeros", ".zeros", {"liar": _ZerosReader}


class _FlippedReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        array = np.ascontiguousarray(super().read(path, selection))
        array.reshape(-1).view(np.uint8)[-1] ^= 1
        return array


class Flipped(_Liar):
    """Flips one bit."""

    name, suffix, readers = "flipped", ".flipped", {"liar": _FlippedReader}


class _HalfReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        array = super().read(path, selection)
        return array.astype(np.float16) if array.dtype == np.float32 else array


class Half(_Liar):
    """Returns float16 for float32."""

    name, suffix, readers = "half", ".half", {"liar": _HalfReader}


class _WholeReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        return super().read(path)


class Whole(_Liar):
    """Ignores the selection."""

    name, suffix, readers = "whole", ".whole", {"liar": _WholeReader}


class _SleepyReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        time.sleep(PAUSE)
        return super().read(path, selection)


class Sleepy(_Liar):
    """Sleeps 5 ms per read, which is slow but no lie: it has to be measured."""

    name, suffix, readers = "sleepy", ".sleepy", {"liar": _SleepyReader}


class _EmptyWriter(RawWriter):
    def commit(self, manifest: Any) -> None:
        self._file.close()
        Path(self._file.name).unlink()


class WritesNothing(_Liar):
    """Reports success and leaves nothing."""

    name, suffix = "nothing", ".nothing"

    def writer(self, path: Path, manifest: Any, profile: Any) -> RawWriter:
        return _EmptyWriter(path)


class _FickleReader(RawReader):
    readers = 0

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        type(self).readers += 1

    def read(self, path: str, selection: Any = None) -> np.ndarray:
        if type(self).readers % 7 == 6:
            raise RuntimeError("not today\nand a second line that nobody needs")
        return super().read(path, selection)


class Fickle(_Liar):
    """Raises now and then."""

    name, suffix, readers = "fickle", ".fickle", {"liar": _FickleReader}


class _HangingReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        if selection is not None:
            threading.Event().wait()
        return super().read(path, selection)


class Hanging(_Liar):
    """Hangs at the first selection; whole reads work, so that its archive passes verification."""

    name, suffix, streams, readers = "hanging", ".hanging", False, {"liar": _HangingReader}


class _DyingReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        if selection is not None:
            os._exit(3)
        return super().read(path, selection)


class Dying(_Liar):
    """Takes its process down at the first selection."""

    name, suffix, streams, readers = "dying", ".dying", False, {"liar": _DyingReader}


class _TunableReader(RawReader):
    mode = "honest"

    def read(self, path: str, selection: Any = None) -> np.ndarray:
        if self.mode == "slow":
            time.sleep(PAUSE)
        array = super().read(path, selection)
        return np.zeros_like(array) if self.mode == "zeros" and selection is not None else array


class Tunable(TunableFormat, _Liar):
    """Has one parameter: with one value it sleeps 5 ms per read, with another it returns zeros for a selection."""

    name, suffix, streams, mode = "tunable", ".tunable", False, "honest"

    def search_space(self) -> SearchSpace:
        mode = Parameter(name="mode", about="how it lies", default="honest", values=("honest", "slow", "zeros"))
        return {Role.PAIR: (mode,)}

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        values = self.values(spec.role, profile)
        # Raw files have no chunks; the mode is all that tells one layout from another.
        return Layout(origin="chosen", why=str(values.get("mode", "")))

    def configured(self, profile: Profile) -> Tunable:
        found = Tunable()
        found.mode = str(self.values(Role.PAIR, profile)["mode"])
        return found

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> RawReader:
        reader = _TunableReader(path)
        reader.mode = self.mode
        return reader


class TunableDying(Tunable):
    """Has a parameter, and takes its process down at the first selection."""

    name, suffix = "dying", ".dying"

    def configured(self, profile: Profile) -> Tunable:
        return self

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> RawReader:
        return _DyingReader(path)


STRIKE = "HARNESS_TEST_STRIKE"
"""Names a file that says what `Struck` meets: an empty one, or none, for nothing."""


def _strike(doing: str) -> None:
    path = Path(os.environ[STRIKE])
    for what in path.read_text().split() if path.exists() else ():
        if what == f"{doing}-full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if what == f"{doing}-memory":
            raise MemoryError
        if what == f"{doing}-killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == f"{doing}-wrong":
            raise ValueError("a fault of its own")


class _StruckReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        if selection is not None and "rehearsal" not in Path(self._file.name).name:
            _strike("read")
        return super().read(path, selection)


class _StruckWriter(RawWriter):
    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        _strike("write")
        super().write(spec, blocks)


class Struck(_Liar):
    """Honest, on a machine that has a bad day."""

    name, suffix, streams, readers = "struck", ".struck", False, {"liar": _StruckReader}

    def writer(self, path: Path, manifest: Any, profile: Any) -> RawWriter:
        return _StruckWriter(path)


WITNESSED = "HARNESS_TEST_WITNESSED"
"""The variable of the environment that names the file in which `Witness` writes."""


class _WitnessWriter(RawWriter):
    """Notes which process writes, and how much."""

    def __init__(self, path: Path, name: str, nbytes: int) -> None:
        super().__init__(path)
        self._said = f"{name} {os.getpid()} {nbytes}\n"

    def commit(self, manifest: Any) -> None:
        super().commit(manifest)
        with Path(os.environ[WITNESSED]).open("a") as file:
            file.write(self._said)


class Witness(_Liar):
    """Is honest, and tells which processes wrote its archives."""

    name, suffix = "witness", ".witness"

    def writer(self, path: Path, manifest: Any, profile: Profile) -> RawWriter:
        return _WitnessWriter(path, self.name, manifest.nbytes)


class OtherWitness(Witness):
    """Is another one."""

    name, suffix = "other", ".other"


class NotAFormat:
    """Not derived from the interface."""
