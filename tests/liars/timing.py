"""Backends that do their work where no timer looks, or where it disturbs others, each as a reader of raw archives."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.formats.raw import RawReader
from harness.formats.selection import lengths, whole
from tests.liars import _Liar

Clock = Callable[[], int]


class _LateReader(RawReader):
    """Returns arrays that are not filled yet, and notes what has to be done."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._left: list[tuple[np.ndarray, str, Any]] = []

    def read(self, path: str, selection: Any = None) -> np.ndarray:
        spec = self.place(path)
        out = np.zeros(lengths(whole(spec.shape, selection)), spec.dtype)
        self._left.append((out, path, selection))
        return out

    def _fill(self) -> None:
        for out, path, selection in self._left:
            out[...] = super().read(path, selection)
        self._left.clear()


class _ClosingReader(_LateReader):
    def close(self) -> None:
        self._fill()
        super().close()


class FillsWhenClosed(_Liar):
    """Fills its arrays in ``close``."""

    name, suffix, readers = "closing", ".closing", {"liar": _ClosingReader}


class FillsLater(_Liar):
    """Fills its arrays after they were returned; a test says when that is, by calling `fill`."""

    name, suffix = "later", ".later"
    opened: ClassVar[list[_LateReader]] = []

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> RawReader:
        self.opened.append(_LateReader(path))
        return self.opened[-1]

    @classmethod
    def fill(cls) -> None:
        """Do what is left."""
        for reader in cls.opened:
            reader._fill()
        cls.opened.clear()


class DecodesInOpen(_Liar):
    """Reads everything when it is opened, and only looks it up when it is asked."""

    name, suffix = "decoding", ".decoding"
    spend: Callable[[], None] = staticmethod(lambda: None)

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> RawReader:
        reader = RawReader(path)
        self.spend()
        kept = {name: reader.read(name) for name in reader.stored()}
        reader.read = lambda path, selection=None: np.array(kept[path][whole(kept[path].shape, selection)])
        return reader


class _BehindArray:
    """Says where its bytes are, and not that they are in a mapped file."""

    def __init__(self, address: int, spec: Any, view: object) -> None:
        self._view = view
        self.__array_interface__ = {
            "data": (address, True), "shape": spec.shape, "typestr": np.dtype(spec.dtype).str, "version": 3,
        }  # fmt: skip


class _HiddenReader(RawReader):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._view = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._view))


class _InterfaceReader(_HiddenReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        spec = self.place(path)
        return np.asarray(_BehindArray(self._start + spec.offset, spec, self._view))[whole(spec.shape, selection)]


class MappedInterface(_Liar):
    """Returns plain arrays over a mapped file by ``__array_interface__``."""

    name, suffix, readers = "interface", ".interface", {"liar": _InterfaceReader}


class _PointerReader(_HiddenReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        spec = self.place(path)
        memory = (ctypes.c_char * spec.nbytes).from_address(self._start + spec.offset)
        return np.frombuffer(memory, spec.dtype).reshape(spec.shape)[whole(spec.shape, selection)]


class MappedPointer(_Liar):
    """Returns plain arrays over a buffer of ctypes that lies in a mapped file."""

    name, suffix, readers = "pointer", ".pointer", {"liar": _PointerReader}


class WidensItself(_Liar):
    """Lets a thread of its own run on every processor, whatever its budget."""

    name, suffix = "widening", ".widening"

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> RawReader:
        done = threading.Event()
        threading.Thread(target=_run_anywhere, args=(done,), daemon=True).start()
        done.wait()
        return RawReader(path)


def _run_anywhere(done: threading.Event) -> None:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    done.set()
    threading.Event().wait()


class _RoundingReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        array = super().read(path, selection)
        array[array == 0] = 0
        return array


class LosesSigns(_Liar):
    """Keeps what compares equal, and not every bit."""

    name, suffix, readers = "signs", ".signs", {"liar": _RoundingReader}


class _PartsReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        array = super().read(path, selection)
        if selection is not None and array.dtype == np.float32:
            array[np.isnan(array)] = np.nan
        return array


class LosesPayloads(_Liar):
    """Gives every NaN of a part the same bits."""

    name, suffix, readers = "payloads", ".payloads", {"liar": _PartsReader}


class SpinsBetweenTurns(_Liar):
    """Leaves a thread that spins, as an idle pool of some libraries does."""

    name, suffix = "spinning", ".spinning"
    spinning = False

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> RawReader:
        if not type(self).spinning:
            type(self).spinning = True
            threading.Thread(target=_spin, daemon=True).start()
        return RawReader(path)


def _spin() -> None:
    while True:
        pass


PLACE = "HARNESS_TEST_PLACE"
"""Names the folder where `KeepsOutside` has its copies."""


class KeepsOutside(_Liar):
    """Reads a copy that it has put somewhere else."""

    name, suffix = "outside", ".outside"

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> RawReader:
        if "rehearsal" in path.name:
            return RawReader(path)
        copy = Path(os.environ[PLACE]) / path.name
        if not copy.exists():
            copy.write_bytes(path.read_bytes())
        reader = RawReader(path)
        honest = reader.read

        def read(name: str, selection: Any = None) -> np.ndarray:
            with RawReader(copy) as other:
                honest(name, selection)
                return other.read(name, selection)

        reader.read = read
        return reader


_KEPT: dict[tuple[Path, str], np.ndarray] = {}


class _HeaderReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        key = self._path, path
        if key not in _KEPT:
            _KEPT[key] = super().read(path)
        return np.array(_KEPT[key][whole(_KEPT[key].shape, selection)])


class ReadsTheHeader(_Liar):
    """Reads a few kilobytes of the archive each time, and returns what was kept for an earlier access."""

    name, suffix, readers = "header", ".header", {"liar": _HeaderReader}


class _CopyingReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        spec = self.place(path)
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            found = np.frombuffer(bytes(view[spec.offset : spec.offset + spec.nbytes]), spec.dtype).reshape(spec.shape)
        return np.array(found[whole(spec.shape, selection)])


class CopiesFromMap(_Liar):
    """Is honest: copies out of a mapped file, which no count of reads shows."""

    name, suffix, readers = "copying", ".copying", {"liar": _CopyingReader}


class _ManyOpensReader(RawReader):
    def read(self, path: str, selection: Any = None) -> np.ndarray:
        with self._path.open("rb"), self._path.open("rb"), self._path.open("rb"):
            return super().read(path, selection)


class OpensOften(_Liar):
    """Opens its file three times over for each read, and once for all."""

    name, suffix, readers = "often", ".often", {"liar": _ManyOpensReader}


_ALL: dict[Path, dict[str, np.ndarray]] = {}


class _OnceReader(RawReader):
    def __init__(self, path: Path) -> None:
        self._kept = _ALL.get(path)
        self._seen: dict[str, np.ndarray] = {}
        if self._kept is None:
            super().__init__(path)

    def read(self, path: str, selection: Any = None) -> np.ndarray:
        if self._kept is None:
            self._seen[path] = super().read(path)
        found = (self._kept or self._seen)[path]
        return np.array(found[whole(found.shape, selection)])

    def close(self) -> None:
        if self._kept is None:
            _ALL[self._path] = self._seen
            super().close()


class ReadsOnce(_Liar):
    """Is honest the first time, and never opens the archive again."""

    name, suffix, readers = "once", ".once", {"liar": _OnceReader}
