"""Formats for tests of workers that die: one slow enough to be killed in the middle, one that kills its process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from harness.formats.base import Selection
from harness.formats.npz import NpzFormat
from harness.formats.npz_reader import NpzReader


class SlowReader(NpzReader):
    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        if "rehearsal" not in str(self._path):
            time.sleep(0.2)
        return super().read(path, selection)


class Slow(NpzFormat):
    name = "slow"

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> SlowReader:
        return SlowReader(path)


class Deadly(NpzFormat):
    name = "deadly"

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> NpzReader:
        if "rehearsal" not in path.name:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().reader(path)
