"""Whatever happens to an archive is found by verifying it, and said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.formats.archive import files_of, open_archive, verify_archive
from harness.formats.base import Profile, load_format
from harness.formats.seal import BLANK, find_seal
from harness.testing.comparing import contents
from tests.formats.samples import BACKENDS, WRITABLE, assert_found, put

Arrays = Mapping[str, np.ndarray]

FOLDERS = [param for param in WRITABLE if param.values[0] in {"zarr", "zarr-slim"}]


@contextmanager
def changed(file: Path, data: bytes) -> Iterator[None]:
    before = file.read_bytes()
    file.write_bytes(data)
    yield
    file.write_bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "profile"), WRITABLE)
def test_any_flipped_bit_is_found(name: str, profile: Profile, small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, name, small, profile)
    files = [file for file in files_of(path) if file.stat().st_size]
    rng = np.random.default_rng(11)
    flips = 120 if profile == "tuned" else 24  # files of other profiles differ by their chunks and codecs alone
    for file in files:
        data = file.read_bytes()
        for bit in rng.integers(0, len(data) * 8, max(2, flips // len(files))).tolist():
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << (bit % 8)
            with changed(file, flipped):
                assert_found(path, (file.name, bit))
    assert verify_archive(path) == []


@pytest.mark.parametrize("name", BACKENDS)
def test_every_bit_of_the_seal_counts(name: str, small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, name, small)
    file = find_seal(path)[0]
    data = file.read_bytes()
    start = data.index(b"trace-format-harness-seal:")
    for place in range(start, start + len(BLANK)):
        with changed(file, data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]):
            assert_found(path, place)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "profile"), WRITABLE)
def test_a_file_cut_short_or_made_longer_is_found(name: str, profile: Profile, small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, name, small, profile)
    for file in files_of(path):
        data = file.read_bytes()
        ends = {0, 1, 7, 8, 100, len(data) // 3, len(data) - 9} if profile == "tuned" else set()
        for length in ends | {len(data) // 2, len(data) - 1}:
            if 0 <= length < len(data):
                with changed(file, data[:length]):
                    assert_found(path, (file.name, length))
        with changed(file, data + b"\0"):
            assert_found(path, (file.name, "longer"))
    assert verify_archive(path) == []


@pytest.mark.parametrize("name", BACKENDS)
def test_a_truncated_archive_cannot_be_opened_as_whole(name: str, small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, name, small)
    file = find_seal(path)[0]
    data = file.read_bytes()
    for length in (len(data) // 4, len(data) // 2, len(data) - 1):
        with changed(file, data[:length]):
            try:
                with open_archive(path, load_format(name)) as (_, reader, manifest):
                    whole = {spec.path: reader.read(spec.path).tobytes() for spec in manifest.tensors}
                assert whole == {key: array.tobytes() for key, array in small.items()}
            except HarnessError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize(("name", "profile"), FOLDERS)
def test_lost_added_renamed_and_linked_files_are_found(
    name: str, profile: Profile, small: Arrays, tmp_path: Path
) -> None:
    path = put(tmp_path, name, small, profile)
    whole = contents(path)
    for file in files_of(path):
        aside = tmp_path / "aside"
        file.rename(aside)
        assert_found(path, f"lost {file}")
        file.symlink_to(aside)
        assert_found(path, f"link in place of {file}")
        file.unlink()
        aside.rename(file)
        moved = file.rename(file.with_name(f"{file.name}x"))
        assert_found(path, f"renamed {file}")
        moved.rename(file)
    for added in ("note.txt", ".hidden", "pair/layer_0/c/9/9/9", "metadata/empty"):
        stray = path / added
        above = [folder for folder in stray.parents if not folder.exists()]
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.write_bytes(b"")
        assert_found(path, f"added {added}")
        stray.unlink()
        for folder in above:
            assert_found(path, f"added {folder}")
            folder.rmdir()
    assert contents(path) == whole
    assert verify_archive(path) == []
