"""An executor and a store of a stranger: one reads backwards in turn, the other is a folder elsewhere."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from harness.errors import UsageError
from harness.run.store import ArchiveStore
from harness.sampling.counters import LocalCounter
from harness.sampling.executor import Executor, Readers
from harness.sampling.parallel_sample import combine


class InTurn(Executor, Readers):
    """Workers that read one after the other."""

    name, order, unasked, stores = "in-turn", 9, False, False
    options: ClassVar = {"patience": ("NAME", "how patient they are")}
    least, worker, readers = 2, ("guest", "guests"), "in turn"

    def require(self, settings, most):
        if most > 3:
            raise UsageError("There are no more than 3 guests.")

    def start(self, settings):
        assert settings == {"patience": "much"}
        return self

    def read(self, share, workers):
        return combine([part.take(lambda: None) for part in share.split(workers)])


@dataclass(frozen=True)
class Copy:
    """An archive on a shelf."""

    path: Path

    def opener(self, backend):
        return Shelved(backend, self.path), LocalCounter


class Shelved:
    def __init__(self, backend, path):
        self.name, self._backend, self._path = backend.name, backend, path

    def reader(self, path):
        return self._backend.reader(self._path)


class Copies:
    def __init__(self, folder):
        self._folder, self._copies = folder, {}

    def add(self, prepared, arms):
        for arm, archive in prepared.archives.items():
            self._copies[arm] = Copy(self._folder / archive.name)
            if not self._copies[arm].path.exists():
                (shutil.copytree if archive.is_dir() else shutil.copy)(archive, self._copies[arm].path)

    def stored(self, arm):
        return self._copies[arm]

    def remove(self):
        shutil.rmtree(self._folder)
        self._folder.mkdir()


@dataclass(frozen=True)
class Shelf(ArchiveStore):
    """A folder as a store."""

    address: ClassVar = "shelf:///FOLDER"
    environment: ClassVar = "nothing"
    options: ClassVar = {"shelf-dust": ("GRAMS", "how much lies on it")}
    url: str
    dust: int = 0

    @classmethod
    def parse(cls, url, options):
        return replace(cls(url), dust=int(options.get("shelf-dust", 0)))

    def describe(self):
        return f"{self.url} with {self.dust} g of dust"

    def routes(self, backend):
        return ("ranges",)

    def caches(self, backend):
        return "no cache"

    def named(self):
        return repr(self.url)

    def require(self):
        if not self._folder.is_dir():
            raise UsageError(f"There is no shelf {self.url}.")

    @property
    def _folder(self):
        return Path(self.url.removeprefix("shelf://"))

    @contextmanager
    def uploads(self, run_id, worker, folder):
        found = Copies(self._folder)
        try:
            yield found
        finally:
            found.remove()
