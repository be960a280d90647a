"""A format that ends the task it is written in, once: as a node does that is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from harness.formats.raw import RawFormat, RawReader, RawWriter
from harness.trace.schema import TensorSpec

KILL = "HARNESS_TEST_KILL"
"""Names a file; while it is there, a write removes it and kills the process that asked for it."""


class _KillingWriter(RawWriter):
    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        mark = Path(os.environ[KILL])
        if mark.exists():
            mark.unlink()
            os.kill(os.getppid(), signal.SIGKILL)
        super().write(spec, blocks)


class Killing(RawFormat):
    """Honest, in a task that dies."""

    name, suffix, standing, readers = "killing", ".killing", "optional", {"plain": RawReader}

    def writer(self, path: Path, manifest: Any, profile: Any) -> RawWriter:
        return _KillingWriter(path)
