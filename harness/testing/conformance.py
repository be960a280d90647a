"""Conformance tests of formats: a format that passes may be measured, a faulty one fails at least one test."""

from __future__ import annotations

import functools
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.formats.archive import archive_size, open_archive, verify_archive, write_archive
from harness.formats.base import Format, Profile, Reader
from harness.formats.describing import ListsTensors, StoredTensor, recognised
from harness.formats.seal import files_of
from harness.testing.comparing import (
    as_it_is,
    big_endian,
    contents,
    fortran,
    open_files,
    owned,
    parts,
    put_in_place,
    same,
)
from harness.testing.readers import ReaderConformance
from harness.testing.samples import sample_arrays, small_arrays, steps
from harness.trace.stream import Trace


class FormatConformance(ReaderConformance):
    """Tests of a format: derive a class whose name begins with ``Test``, and set `format` in it.

    Attributes
    ----------
    format : type of Format, or Format
        The format to test.
    profile : Profile
        The settings with which archives are written.
    patience : float
        Seconds after which a check that does not end has failed.
    """

    format: ClassVar[type[Format] | Format]
    profile: ClassVar[Profile] = "tuned"
    patience: ClassVar[float] = 120.0

    def made(self) -> Format:
        """Return the format."""
        return self.format() if isinstance(self.format, type) else self.format

    def write(self, folder: Path, trace: Trace, name: str = "archive") -> Path:
        """Write a trace and return the archive."""
        path = folder / f"{name}{self.made().suffix}"
        write_archive(trace, self.made(), path, self.profile)
        return path

    @contextmanager
    def opened(self, path: Path) -> Iterator[Reader]:
        """Open an archive as the harness does."""
        with open_archive(path, self.made()) as (_, reader, _):
            yield reader

    def test_every_tensor_comes_back_bit_for_bit(self, tmp_path: Path) -> None:
        """Tensors have all dtypes and most roles, signed zeros, NaN payloads, subnormals, no values or no axes."""
        arrays = sample_arrays(self.made().lacks)
        path = self.write(tmp_path, steps(arrays))
        with self.opened(path) as reader:
            for name, array in arrays.items():
                same(reader.read(name), array, name)
            if isinstance(reader, ListsTensors):
                assert reader.stored() == {n: StoredTensor(a.shape, a.dtype.name) for n, a in arrays.items()}
        assert not (problems := verify_archive(path, self.made())), problems[0]
        assert recognised(path, self.made()), "its own archive is not recognised"

    def test_the_manifest_comes_back(self, tmp_path: Path) -> None:
        """Provenance, metadata and digests are unchanged, and the archive size counts all bytes."""
        trace, path = steps(small_arrays()), tmp_path / f"archive{self.made().suffix}"
        written = write_archive(trace, self.made(), path, self.profile)
        with open_archive(path, self.made()) as (_, _, manifest):
            assert manifest == written
            assert (manifest.provenance, manifest.metadata) == (trace.manifest.provenance, trace.manifest.metadata)
        found = [file for file in (path, *path.rglob("*")) if file.is_file()]
        assert archive_size(path) == (sum(file.stat().st_size for file in found), len(found))

    def test_every_part_comes_back_bit_for_bit(self, tmp_path: Path) -> None:
        """Parts are random windows, single values, parts without values, and complete tensors."""
        arrays, rng = sample_arrays(self.made().lacks), np.random.default_rng(5)
        with self.opened(self.write(tmp_path, steps(arrays))) as reader:
            for name, array in arrays.items():
                for part in parts(array.shape, rng):
                    found = reader.read(name, part)
                    same(found, array[part], f"{name} {part}")
                    assert owned(found) <= max(2 * array[part].nbytes, 4096), "keeps the whole tensor"

    def test_wrong_selections_are_refused_or_read_as_numpy_does(self, tmp_path: Path) -> None:
        """No plan has them: they are refused before a format is called. Open ends mean those of the axis."""
        array = small_arrays()["attention/layer_0"]
        every = slice(0, 12)
        wrong: Any = [(part, every, every) for part in (slice(-1, 2), slice(0, 3), slice(2, 1), slice(0, 2, 2))]
        wrong += [(slice(0.0, 1), every, every), *((slice(0, 1),) * number for number in (0, 2, 4))]
        with self.opened(self.write(tmp_path, steps(small_arrays()))) as reader:
            same(reader.read("attention/layer_0", (slice(None, 1), slice(3, None), slice(None))), array[:1, 3:], "open")
            for selection in wrong:
                try:
                    found = reader.read("attention/layer_0", selection)
                except Exception:  # noqa: BLE001 - a library refuses in its own way
                    continue
                same(found, array[selection], f"{selection}")
            with pytest.raises(Exception, match="layer_7"):
                reader.read("attention/layer_7")

    def test_blocks_of_any_size_order_and_bytes_give_the_same_tensors(self, tmp_path: Path) -> None:
        """Blocks have any number of rows, Fortran order, big-endian bytes, or are read-only."""
        arrays = {"single/layer_0": np.random.default_rng(0).random((12, 5)).astype(np.float32), **small_arrays()}
        for name, rows, given in (
            ("odd", 1, as_it_is),
            ("joined", 7, as_it_is),
            ("fortran", 7, fortran),
            ("big", 7, big_endian),
        ):
            with self.opened(self.write(tmp_path, steps(arrays, rows, given=given), name)) as reader:
                for path, array in arrays.items():
                    same(reader.read(path), array, f"{path}, given {name}")

    def test_values_outlive_the_archive(self, tmp_path: Path) -> None:
        """Returned arrays own their memory, and reading does not change the archive."""
        arrays = small_arrays()
        path = self.write(tmp_path, steps(arrays))
        before = contents(path)
        with self.opened(path) as reader:
            found = {name: reader.read(name) for name in arrays}
            part = reader.read("pair/layer_0", (slice(0, 5), slice(2, 9), slice(0, 4)))
        assert contents(path) == before, "reading changed the archive"
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, array in arrays.items():
            same(found[name], array, name)
        same(part, arrays["pair/layer_0"][:5, 2:9], "part")

    def test_nothing_is_kept_between_readers(self, tmp_path: Path) -> None:
        """An archive with other values at the same path, with the same timestamps, is read with its new values."""
        first, second = (steps(small_arrays(seed)) for seed in (3, 4))
        path, other = self.write(tmp_path, first), self.write(tmp_path, second, "other")
        with self.opened(path) as reader:
            for name in small_arrays(3):
                reader.read(name)
        put_in_place(other, path)
        with self.opened(path) as reader:
            for name, array in small_arrays(4).items():
                same(reader.read(name), array, f"{name}, read again after it was changed")

    def test_threads_may_share_a_reader(self, tmp_path: Path) -> None:
        """Four threads read different tensors and parts at once."""
        arrays = sample_arrays(self.made().lacks)

        def read(reader: Reader, seed: int) -> None:
            rng = np.random.default_rng(seed)
            for name in rng.permutation(list(arrays))[:12]:
                for part in (None, *parts(arrays[name].shape, rng)[:2]):
                    same(reader.read(name, part), arrays[name][... if part is None else part], name)

        with self.opened(self.write(tmp_path, steps(arrays))) as reader, ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(read, reader, seed) for seed in range(4)]:
                done.result()

    def test_nothing_is_written_elsewhere(self, tmp_path: Path) -> None:
        """A writer writes only at its path; one that is interrupted leaves nothing."""
        home = tmp_path / "home"
        home.mkdir()
        path, here = self.write(home, steps(small_arrays())), set(Path.cwd().iterdir())
        with self.opened(path) as reader:
            reader.read("pair/layer_0")

        def fail(name: str, block: int) -> None:
            if name == "attention/layer_0":
                raise ZeroDivisionError("the trace ends early")

        with pytest.raises(ZeroDivisionError):
            self.write(home, steps(small_arrays(), before=fail), "interrupted")
        assert list(home.iterdir()) == [path] and list(tmp_path.iterdir()) == [home]
        assert set(Path.cwd().iterdir()) == here, "files appeared in the current folder"

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be counted here")
    def test_handles_are_released(self, tmp_path: Path) -> None:
        """Writers, and readers that are closed, also by an error, leave no files open."""
        counts = []
        for number in range(2):  # the first use of a library may open files of its own
            path = self.write(tmp_path, steps(small_arrays()), f"archive-{number}")
            with pytest.raises(ZeroDivisionError), self.opened(path) as reader:
                reader.read("pair/layer_0")
                raise ZeroDivisionError
            open_now = open_files()
            counts.append(len(open_now))
            maps = Path("/proc/self/maps").read_text().splitlines()
            left = [name for name in (*open_now, *maps) if str(tmp_path) in name]
            assert not left, f"left open: {left[0]}"
        assert counts[1] <= counts[0], f"{counts[1] - counts[0]} more files are open after every reader"

    def test_damage_is_refused(self, tmp_path: Path) -> None:
        """Flipped bits, and truncated, missing or added files are reported, and do not crash the process."""
        path = self.write(tmp_path, steps(small_arrays()))
        for file in files_of(path):
            whole = file.read_bytes()
            places = sorted({0, len(whole) // 3, len(whole) // 2, len(whole) - 1})
            flipped = [whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :] for at in places if whole]
            for changed in (*flipped, *(whole[:at] for at in places[:-1]), whole + b"\0"):
                file.write_bytes(changed)
                assert verify_archive(path, self.made()), f"a change of {file.name} was not found"
            if path.is_dir():
                file.unlink()
                assert verify_archive(path, self.made()), f"{file.name} is gone, and that was not found"
            file.write_bytes(whole)
        if path.is_dir():
            (path / "added").write_bytes(b"x")
            assert verify_archive(path, self.made()), "a file was added, and that was not found"
            (path / "added").unlink()
        assert verify_archive(path, self.made()) == [], "it is as it was written, and is refused"

    def test_what_is_not_finished_is_refused(self, tmp_path: Path) -> None:
        """An archive whose writing was aborted cannot be opened."""
        trace, path = steps(small_arrays()), tmp_path / f"archive{self.made().suffix}"
        writer = self.made().writer(path, trace.manifest, self.profile)
        spec = trace.manifest.tensors[0]
        writer.write(spec, trace.blocks(spec.path))
        writer.abort()
        with pytest.raises(HarnessError), self.opened(path):
            pass


def _in_time(test: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
    """Return a check that fails if it does not end in time, for example because a reader waits forever."""

    @functools.wraps(test)
    def guarded(self: FormatConformance, tmp_path: Path) -> None:
        raised: list[BaseException] = []

        def go() -> None:
            try:
                test(self, tmp_path)
            except BaseException as error:  # noqa: BLE001 - carried to pytest's own thread
                raised.append(error)

        thread = threading.Thread(target=go, daemon=True)
        thread.start()
        thread.join(self.patience)
        assert not thread.is_alive(), f"hung: it did not end within {self.patience:g} s"
        if raised:
            raise raised[0]

    return guarded


CHECKS = tuple(name for name in (*vars(FormatConformance), *vars(ReaderConformance)) if name.startswith("test_"))
"""Names of the checks."""

for _name in CHECKS:
    setattr(FormatConformance, _name, _in_time(getattr(FormatConformance, _name)))


def failing_checks(
    format: type[Format] | Format, profile: Profile = "tuned", patience: float = 120.0
) -> dict[str, str]:
    """Run the checks of `FormatConformance` without pytest's command line.

    Parameters
    ----------
    format : type of Format, or Format
        The format to test.
    profile : Profile
        The settings with which archives are written.
    patience : float
        Seconds after which a check that does not end has failed.

    Returns
    -------
    dict of str to str
        The problem that each failed check found, by its name without ``test_``; empty for a format that conforms.
    """
    suite = type("Once", (FormatConformance,), {"format": format, "profile": profile, "patience": patience})()
    failed = {}
    for name in CHECKS:
        with tempfile.TemporaryDirectory(prefix="harness-", ignore_cleanup_errors=True) as folder:
            try:
                getattr(suite, name)(Path(folder))
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - what a format raises is not known
                failed[name.removeprefix("test_")] = (str(error) or type(error).__name__).splitlines()[0]
    return failed
