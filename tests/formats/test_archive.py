"""An archive appears whole or not at all, and passes from format to format unchanged."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ArchiveError, HarnessError, UsageError
from harness.formats import placing
from harness.formats.archive import write_archive
from harness.formats.base import Writer, load_format
from harness.formats.raw import RawFormat, RawWriter
from harness.testing.samples import StepTrace
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec, tensor
from tests.formats.samples import BACKENDS, assert_holds, put, trace_of

Arrays = Mapping[str, np.ndarray]

LONG = {
    tensor("pair/layer_0", (60, 60, 3)): np.random.default_rng(0).random((60, 60, 3)).astype(np.float32),
    tensor("single/layer_0", (60, 5)): np.random.default_rng(1).random((60, 5)).astype(np.float32),
}
DEAD = 2**22 + 1  # above the largest process id that Linux gives


class Stop(BaseException):
    """What an interrupt is: no `Exception`."""


class BrokenWriter(RawWriter):
    """Fails where it is told to."""

    where = ""

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        self._fail("first", spec)
        super().write(spec, (self._between(block) for block in blocks))
        self._fail("last")

    def _between(self, block: np.ndarray) -> np.ndarray:
        self._fail("between")
        return block

    def commit(self, manifest: Manifest) -> None:
        super().commit(manifest)
        self._fail("commit")

    def _fail(self, where: str, spec: TensorSpec | None = None) -> None:
        if self.where == where and (spec is None or spec.path == "single/layer_0"):
            raise RuntimeError("the library gave up\nand says so at length")


def broken(where: str) -> RawFormat:
    class Broken(RawFormat):
        def writer(self, path: Path, manifest: Manifest, profile: str) -> Writer:
            if where == "writer":
                path.write_bytes(b"begun")
                raise RuntimeError("the library gave up\nand says so at length")
            writer = BrokenWriter(path)
            writer.where = where
            return writer

    return Broken()


def failing_at(path: str, block: int, error: BaseException) -> Callable[[str, int], None]:
    def before(name: str, number: int) -> None:
        if (name, number) == (path, block):
            raise error

    return before


@pytest.mark.parametrize("where", ["writer", "first", "between", "last", "commit"])
def test_a_writer_that_fails_leaves_nothing(where: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError) as caught:
        write_archive(StepTrace(LONG), broken(where), tmp_path / "archive.raw")
    assert "raw failed" in str(caught.value)
    assert "RuntimeError: the library gave up" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError("no such layer"), Stop()], ids=["error", "interrupt"])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_trace_that_fails_midway_leaves_nothing(name: str, error: BaseException, tmp_path: Path) -> None:
    trace = StepTrace(LONG, rows=7, before=failing_at("single/layer_0", 3, error))
    with pytest.raises(type(error)) as caught:
        write_archive(trace, load_format(name), tmp_path / "archive")
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(59, 5), (61, 5), (60, 4)])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_trace_that_gives_other_shapes_than_it_states_is_refused(
    name: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    arrays = {spec: np.zeros(shape if len(spec.shape) == 2 else spec.shape, np.float32) for spec in LONG}
    with pytest.raises(HarnessError, match="single/layer_0: expected"):
        write_archive(StepTrace(arrays), load_format(name), tmp_path / "archive")
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_gives_another_dtype_is_refused(tmp_path: Path) -> None:
    arrays = {spec: array.astype(np.float64) for spec, array in LONG.items()}
    with pytest.raises(HarnessError, match=r"of float32, got one of shape .* of float64"):
        write_archive(StepTrace(arrays), load_format("raw"), tmp_path / "archive")
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_writes_nothing_is_found_out(tmp_path: Path) -> None:
    class Idle(Writer):
        def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
            list(blocks)

        def commit(self, manifest: Manifest) -> None:
            pass

        def abort(self) -> None:
            pass

    class Nothing(RawFormat):
        name = "nothing"

        def writer(self, path: Path, manifest: Manifest, profile: str) -> Writer:
            return Idle()

    with pytest.raises(HarnessError, match="nothing reported success but wrote nothing"):
        write_archive(StepTrace(LONG), Nothing(), tmp_path / "archive")
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_leaves_blocks_is_found_out(tmp_path: Path) -> None:
    class Lazy(RawWriter):
        def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
            super().write(spec, [next(iter(blocks))])

    class Careless(RawFormat):
        def writer(self, path: Path, manifest: Manifest, profile: str) -> Writer:
            return Lazy(path)

    with pytest.raises(HarnessError, match=r"raw failed writing .*: it left blocks of it"):
        write_archive(StepTrace(LONG, rows=7), Careless(), tmp_path / "archive")
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_leaves_no_place_for_the_seal_is_found_out(tmp_path: Path) -> None:
    class Unsealed(BrokenWriter):
        def commit(self, manifest: Manifest) -> None:
            self._file.write(manifest.to_json().encode())
            self._file.close()

    class Careless(RawFormat):
        def writer(self, path: Path, manifest: Manifest, profile: str) -> Writer:
            return Unsealed(path)

    with pytest.raises(ArchiveError, match=r"its writer must store seal\.BLANK"):
        write_archive(StepTrace(LONG), Careless(), tmp_path / "archive")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BACKENDS)
def test_leftovers_of_the_dead_are_removed_and_no_others(name: str, small: Arrays, tmp_path: Path) -> None:
    backend = load_format(name)
    destination = tmp_path / "an[1] archive"
    stale, folder = (tmp_path / f".{destination.name}.partial-{pid}" for pid in (DEAD, DEAD + 1))
    stale.write_text("half")
    (folder / "pair").mkdir(parents=True)
    alive = tmp_path / f".{destination.name}.partial-{os.getppid()}"
    other = tmp_path / f".other.partial-{DEAD}"
    alive.write_text("of a process that runs")
    other.write_text("of another archive")
    write_archive(trace_of(small), backend, destination)
    assert set(tmp_path.iterdir()) == {destination, alive, other}
    assert_holds(destination, small)


def test_an_archive_is_never_overwritten(small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, "npz", small)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already; remove it or name another destination"):
        put(tmp_path, "npz", {"outputs/other": np.arange(3)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(small: Arrays, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere does not exist; create it first"):
        write_archive(trace_of(small), load_format("raw"), tmp_path / "nowhere" / "archive")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission_is_named(small: Arrays, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere; the next test asks the same of a pretended answer")
        with pytest.raises(UsageError, match="cannot be written to; choose another"):
            write_archive(trace_of(small), load_format("raw"), tmp_path / "archive")
    finally:
        tmp_path.chmod(0o755)


def test_a_refusal_to_write_is_said(small: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == tmp_path and mode & os.W_OK))
    with pytest.raises(UsageError, match="cannot be written to; choose another"):
        write_archive(trace_of(small), load_format("raw"), tmp_path / "archive")
    assert list(tmp_path.iterdir()) == []


CHILD = """
import sys, threading
from pathlib import Path
from harness.testing.samples import StepTrace
from tests.formats.test_archive import LONG
from harness.formats.archive import write_archive
from harness.formats.base import load_format

def before(path, block):
    if (path, block) == ("single/layer_0", 2):
        print("midway", flush=True)
        threading.Event().wait()

write_archive(StepTrace(LONG, rows=7, before=before), load_format(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hdf5", "zarr-slim"])  # one file, and a folder; test_killed.py has them all
def test_a_killed_process_leaves_no_archive(name: str, tmp_path: Path) -> None:
    destination = tmp_path / "archive"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-W", "ignore", "-c", CHILD, name, str(destination)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "midway\n"  # waits for as long as the child lives
        child.kill()
    assert child.returncode == -9
    assert not destination.exists()
    assert [path.name for path in tmp_path.iterdir()] == [f".archive.partial-{child.pid}"]
    write_archive(StepTrace(LONG), load_format(name), destination)
    assert list(tmp_path.iterdir()) == [destination]
    assert_holds(destination, {spec.path: array for spec, array in LONG.items()})


def test_only_the_writer_is_timed(tmp_path: Path) -> None:
    events: list[str] = []

    class Watch:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> None:
            events.append(f"{self.name} starts")

        def __exit__(self, *error: object) -> None:
            events.append(f"{self.name} stops")

    def before(path: str, block: int) -> None:
        events.append("block made")

    trace = StepTrace(LONG, rows=30, before=before)
    write_archive(trace, load_format("raw"), tmp_path / "a", stopwatch=Watch("write"), sync_stopwatch=Watch("sync"))
    running = [
        sum(e == "write starts" for e in events[:k]) - sum(e == "write stops" for e in events[:k])
        for k, event in enumerate(events)
        if event == "block made"
    ]
    assert running == [0] * 4
    assert events[-2:] == ["sync starts", "sync stops"]
    assert events.count("write starts") == events.count("write stops")


def test_a_folder_is_removed_although_something_still_writes_in_it(tmp_path, monkeypatch):
    """As zarr-python's tasks do for a moment after one of them has failed."""
    folder = tmp_path / "archive.zarr"
    folder.mkdir()
    (folder / "chunk").touch()
    really, calls = shutil.rmtree, []

    def disturbed(path, *args, **more):
        calls.append(path)
        if len(calls) == 1:
            raise FileNotFoundError(errno.ENOENT, "a temporary file went away", "zarr.1.partial")
        if len(calls) == 2:
            raise OSError(errno.ENOTEMPTY, "a chunk appeared", str(path))
        really(path, *args, **more)

    monkeypatch.setattr(placing.shutil, "rmtree", disturbed)
    placing.remove(folder)
    assert len(calls) == 3 and not folder.exists()


def test_a_folder_that_cannot_be_removed_says_so(tmp_path, monkeypatch):
    def refused(path, *args, **more):
        raise PermissionError(errno.EACCES, "not yours", str(path))

    (tmp_path / "archive.zarr").mkdir()
    monkeypatch.setattr(placing.shutil, "rmtree", refused)
    with pytest.raises(PermissionError):
        placing.remove(tmp_path / "archive.zarr")
