"""Write archives in processes that are killed, or whose disk is full, and say what they had noted as whole by then.

Run as a program it imports every format once, uses none, and forks for each request: a process that has used them could
not be forked safely.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.formats import archive, placing
from harness.formats.archive import open_archive, verify_archive
from harness.formats.base import Writer, load_format
from harness.formats.journal import JournalWriter
from harness.testing.comparing import contents
from harness.testing.samples import StepTrace, bfloat16_exact
from harness.trace.schema import TensorSpec, tensor
from tests.formats.samples import INSTALLED, assert_same

N = 45


def _layers(count: int, n: int, channels: int) -> dict[TensorSpec, np.ndarray]:
    """Make layers in which equal tensors, late departures and values too wide for their neighbours occur."""
    rng = np.random.default_rng(11)
    arrays: dict[str, np.ndarray] = {"inputs/sequence": rng.integers(0, 20, n).astype(np.uint8)}
    pair = bfloat16_exact(rng.normal(size=(n, n, channels)))
    for k in range(count):
        pair = pair.copy()
        pair[-1, -1, -1] += np.float32(0.001 * k)
        arrays[f"activations/layer_{k}/pair_repr"] = pair
        arrays[f"attention/layer_{k}"] = rng.random((4, n, n)).astype(np.float32) * (k != 1)
        arrays[f"pair/layer_{k}"] = pair
    arrays["recycle/step_0/single_repr"] = rng.normal(size=(n, 7)).astype(np.float32)
    arrays["structure/ptm"] = np.array(0.75, np.float32)
    return {tensor(path, array.shape, array.dtype): array for path, array in arrays.items()}


def layers(size: str) -> dict[TensorSpec, np.ndarray]:
    """Return the tensors of the small trace, or of the large one that takes some time to write."""
    return _layers(2, N, 3) if size == "small" else _layers(4, 160, 16)


SMALL = layers("small")
ARRAYS = {spec.path: array for spec, array in SMALL.items()}
ORDER = [spec.path for spec in SMALL]


def listed(folder: Path, arrays: dict[str, np.ndarray]) -> list[str]:
    """Check that every tensor that an incomplete archive lists is there bit for bit, and return their paths."""
    before = contents(folder)
    with open_archive(folder) as (_, reader, manifest):
        assert manifest.incomplete is not None
        assert (manifest.incomplete.whole, manifest.incomplete.planned) == (len(manifest.tensors), len(arrays))
        for spec in manifest.tensors:
            array = arrays[spec.path]
            assert_same(reader.read(spec.path), array)
            middle = tuple(slice(n // 3, 2 * n // 3) for n in array.shape)
            assert_same(reader.read(spec.path, middle), array[middle])
    assert verify_archive(folder) == []
    assert contents(folder) == before
    return [spec.path for spec in manifest.tensors]


class Killer:
    """The program, as its caller sees it."""

    def __init__(self) -> None:
        root = Path(__file__).parents[2]
        path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-W", "ignore", "-m", "tests.formats.killing"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, text=True
        )

    def __call__(self, name: str, destination: Path, size: str = "small", **how: Any) -> dict[str, Any]:
        """Write an archive.

        Parameters
        ----------
        name : str
            The format.
        destination : Path
            The archive.
        size : {"small", "large"}
            Of the trace.
        stop : int, optional
            Number of the operation before which the process kills itself.
        after : float, optional
            Seconds after which it is killed.
        limit : int, optional
            Bytes beyond which no file can grow.

        Returns
        -------
        dict
            The signal it was ``killed`` by, 0 for none; ``seconds``, the ``noted`` paths, the error that was ``said``.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(
            json.dumps({"name": name, "destination": str(destination), "size": size, **how}) + "\n"
        )
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class _Steps:
    """Counts the operations of a process, and kills it before one of them."""

    def __init__(self, stop: int | None, tell: Callable[[Any], None]) -> None:
        self._left, self._tell = -1 if stop is None else stop, tell
        self.taken = 0

    def around(self, call: Callable[..., Any], note: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def stepped(*arguments: Any, **options: Any) -> Any:
            if self.taken == self._left:
                os.kill(os.getpid(), signal.SIGKILL)
            self.taken += 1
            result = call(*arguments, **options)
            if note is not None:
                self._tell(note(*arguments))
            return result

        return stepped


def _write(request: dict[str, Any], tell: Callable[[Any], None]) -> None:
    """Write an archive with every operation counted; in a process of its own."""
    steps, before = _Steps(request.get("stop"), tell), resource.getrlimit(resource.RLIMIT_FSIZE)
    backend, made = load_format(request["name"]), load_format(request["name"]).writer

    def writer(*arguments: Any) -> Writer:
        found = made(*arguments)
        for name in ("checkpoint", "commit"):
            setattr(found, name, steps.around(getattr(found, name)))
        taken, step, given_up = found.write, steps.around(lambda block: block), found.abort
        found.write = steps.around(lambda spec, blocks: taken(spec, map(step, blocks)))

        def abort() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)  # it holds for files in memory too, a full disk does not
            given_up()

        found.abort = abort
        return found

    backend.writer = steps.around(writer)  # type: ignore[method-assign]
    JournalWriter.add = steps.around(JournalWriter.add, lambda journal, whole: list(whole))  # type: ignore[method-assign]
    Path.rename = steps.around(Path.rename)  # type: ignore[method-assign]
    archive.seal, archive.sync = steps.around(archive.seal), steps.around(archive.sync)
    placing.remove = steps.around(placing.remove)
    if (limit := request.get("limit")) is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    start = time.perf_counter()
    said = ""
    try:
        trace = StepTrace(layers(request["size"]), rows=20)
        archive.write_archive(trace, backend, Path(request["destination"]), keep_incomplete=True)
    except HarnessError as error:
        said = str(error)
    tell({"seconds": time.perf_counter() - start, "said": said})


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Fork for one request, and collect what the child told before it ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _write(request, lambda told: os.write(writing, json.dumps(told).encode() + b"\n"))
        finally:
            os._exit(0)
    os.close(writing)
    if (after := request.get("after")) is not None:
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        told = [json.loads(line) for line in pipe]
    _, status = os.waitpid(pid, 0)
    answer: dict[str, Any] = told.pop() if told and isinstance(told[-1], dict) else {"said": ""}
    return {
        **answer,
        "killed": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "noted": [path for paths in told for path in paths],
    }


if __name__ == "__main__":
    for name in INSTALLED:
        load_format(name)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)
