"""However its writing ends, what is left of an archive can be read up to the last layer that was whole."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
from copy import copy
from pathlib import Path

import pytest
import xxhash

from harness.errors import ArchiveError, HarnessError, UsageError
from harness.formats.archive import detect, open_archive, verify_archive, write_archive
from harness.formats.archive_trace import open_archived
from harness.formats.base import Profile, UnsupportedProfile, load_format
from harness.formats.journal import NAME, UNFINISHED, being_written, read_journal
from harness.formats.raw import RawFormat, RawWriter
from harness.formats.recovery import incomplete_path
from harness.formats.seal import files_of
from harness.testing.comparing import contents
from harness.testing.samples import StepTrace, sample_arrays
from harness.trace.incomplete import Incomplete
from harness.trace.schema import tensor
from tests.formats.killing import ARRAYS, ORDER, SMALL, Killer, listed
from tests.formats.samples import INSTALLED, KEEPING, KEEPING_WRITABLE, LACKING, assert_found, assert_same
from tests.formats.test_archive import failing_at

LAST = "structure/ptm"


def cut(folder: Path, name: str, path: str = LAST, profile: Profile = "tuned") -> Path:
    """Write an archive of a trace that fails before a tensor, and return what is left."""
    trace = StepTrace(SMALL, rows=20, before=failing_at(path, 0, ValueError("the model failed")))
    destination = folder / f"archive{load_format(name).suffix}"
    with pytest.raises(ValueError, match="the model failed"):
        write_archive(trace, load_format(name), destination, profile, keep_incomplete=True)
    assert not destination.exists()
    return incomplete_path(destination)


@pytest.mark.parametrize("name", KEEPING)
def test_a_trace_that_fails_leaves_its_whole_layers(name: str, tmp_path: Path) -> None:
    folder = cut(tmp_path, name, "pair/layer_1")
    assert listed(folder, ARRAYS) == ORDER[:4]  # not the two tensors of layer 1, which is not whole
    assert read_journal(folder).manifest.incomplete == Incomplete(whole=4, planned=9, last_layer="layer_0")
    assert not being_written(folder)


def test_where_the_whole_layers_are_is_said(tmp_path: Path) -> None:
    said = "holds what was whole: 4 of 9 tensors, whole up to layer_0."
    for error in (ValueError("the model failed"), KeyboardInterrupt()):
        trace = StepTrace(SMALL, before=failing_at("pair/layer_1", 0, error))
        with pytest.raises(type(error)) as caught:
            write_archive(trace, load_format("raw"), tmp_path / type(error).__name__, keep_incomplete=True)
        assert caught.value is error
        assert said in error.__notes__[0] and f"{type(error).__name__}.incomplete" in error.__notes__[0]
    trace = StepTrace(SMALL, before=failing_at("pair/layer_1", 0, ArchiveError("The source is damaged.")))
    with pytest.raises(ArchiveError, match=rf"^The source is damaged\. .*archive\.incomplete {said}$"):
        write_archive(trace, load_format("raw"), tmp_path / "archive", keep_incomplete=True)


@pytest.mark.parametrize("name", KEEPING)
def test_nothing_is_left_where_nothing_was_whole(name: str, tmp_path: Path) -> None:
    trace = StepTrace(SMALL, rows=20, before=failing_at("inputs/sequence", 2, ValueError("the model failed")))
    with pytest.raises(ValueError, match="the model failed"):
        write_archive(trace, load_format(name), tmp_path / "archive", keep_incomplete=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "profile"), KEEPING_WRITABLE)
def test_a_finished_archive_is_the_same_byte_for_byte(name: str, profile: Profile, tmp_path: Path) -> None:
    arrays = {tensor(path, array.shape, array.dtype): array for path, array in sample_arrays(LACKING).items()}
    arrays |= {spec: array for spec, array in SMALL.items() if spec.path.endswith("layer_1")}
    backend, trace = load_format(name), StepTrace(arrays)
    write_archive(trace, backend, tmp_path / "plain", profile)
    write_archive(trace, backend, tmp_path / "kept", profile, keep_incomplete=True)
    assert contents(tmp_path / "kept") == contents(tmp_path / "plain")
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "plain"}


@pytest.mark.parametrize("name", sorted({"npz", "safetensors"} & {*INSTALLED}))
@pytest.mark.parametrize("keep", [False, True])
def test_a_profile_that_a_format_cannot_take_is_refused_with_a_reason(name: str, keep: bool, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedProfile, match=f"{name} has neither chunks nor"):
        write_archive(StepTrace(SMALL), load_format(name), tmp_path / "kept", "matched", keep_incomplete=keep)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "profile"), KEEPING_WRITABLE)
def test_every_dtype_role_and_special_value_is_recovered(name: str, profile: Profile, tmp_path: Path) -> None:
    arrays = sample_arrays(LACKING)
    specs = {tensor(path, array.shape, array.dtype): array for path, array in arrays.items()}
    *_, last = arrays
    trace = StepTrace(specs, before=failing_at(last, 0, ValueError("the model failed")))
    with pytest.raises(ValueError, match="the model failed"):
        write_archive(trace, load_format(name), tmp_path / "archive", profile, keep_incomplete=True)
    assert listed(incomplete_path(tmp_path / "archive"), arrays) == list(arrays)[:-1]


def test_what_an_earlier_attempt_left_is_never_overwritten(tmp_path: Path) -> None:
    folder = cut(tmp_path, "hdf5")
    before = contents(folder)
    with pytest.raises(
        UsageError, match=r"archive\.h5\.incomplete holds what was whole: .* Keep that with 'harness conv"
    ):
        write_archive(StepTrace(SMALL), load_format("hdf5"), tmp_path / "archive.h5", keep_incomplete=True)
    assert contents(folder) == before
    write_archive(StepTrace(SMALL), load_format("hdf5"), tmp_path / "archive.h5")  # that name alone is not taken
    with pytest.raises(UsageError, match="exists already"):
        write_archive(StepTrace(SMALL), load_format("hdf5"), tmp_path / "archive.h5", keep_incomplete=True)
    assert contents(folder) == before


def test_what_holds_nothing_makes_way(tmp_path: Path, killer: Killer) -> None:
    destination = tmp_path / "archive"
    answer = killer("raw", destination, stop=8)  # within the first tensor
    assert answer["killed"] and not answer["noted"]
    assert [path.name for path in tmp_path.iterdir()] == ["archive.incomplete"]
    with open_archive(incomplete_path(destination)) as (_, _, manifest):
        assert str(manifest.incomplete) == "0 of 9 tensors, no layer is whole"
    write_archive(StepTrace(SMALL), load_format("zarr"), destination, keep_incomplete=True)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_what_is_unknown_or_damaged_is_left_alone(tmp_path: Path) -> None:
    def refused(match: str) -> None:
        with pytest.raises(UsageError, match=match):
            write_archive(StepTrace(SMALL), load_format("raw"), tmp_path / "archive.raw", keep_incomplete=True)

    folder = cut(tmp_path, "raw")
    damage(folder / NAME, 200)
    refused("the journal is damaged, so that nothing says what is whole; remove it or name another")
    shutil.rmtree(folder)
    folder.write_text("something else")
    refused("archive.raw.incomplete is in the way: move it elsewhere or name another destination")
    assert [path.name for path in tmp_path.iterdir()] == ["archive.raw.incomplete"]


def test_two_at_once_are_kept_apart_and_what_one_writes_can_be_read_meanwhile(tmp_path: Path) -> None:
    destination, seen = tmp_path / "archive", []

    def look(path: str, block: int) -> None:
        if path == LAST:
            assert being_written(incomplete_path(destination))
            seen.extend(listed(incomplete_path(destination), ARRAYS))
            with pytest.raises(UsageError, match="is being written by another process"):
                write_archive(StepTrace(SMALL), load_format("raw"), destination, keep_incomplete=True)

    write_archive(StepTrace(SMALL, before=look), load_format("hdf5"), destination, keep_incomplete=True)
    assert seen == ORDER[:-1]
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_format_without_checkpoints_is_refused(tmp_path: Path) -> None:
    class Plain(RawFormat):
        recover = None

    with pytest.raises(UsageError, match="'raw' cannot be read before it is finished: choose another format"):
        write_archive(StepTrace(SMALL), Plain(), tmp_path / "archive", keep_incomplete=True)
    assert list(tmp_path.iterdir()) == []


def damage(file: Path, offset: int) -> None:
    """Flip one bit."""
    data = bytearray(file.read_bytes())
    data[offset] ^= 4
    file.write_bytes(data)


@pytest.mark.parametrize(("name", "profile"), [one for one in KEEPING_WRITABLE if "seed" not in one.values])
def test_damage_to_what_is_whole_is_found(name: str, profile: Profile, tmp_path: Path) -> None:
    folder = cut(tmp_path, name, profile=profile)
    file = max(files_of(folder / UNFINISHED), key=lambda file: file.stat().st_size)
    whole = file.read_bytes()
    damage(file, len(whole) // 2)
    assert_found(folder, "a flipped bit")
    file.write_bytes(whole[: len(whole) // 2])
    assert_found(folder, "a file that ends early")
    with pytest.raises(HarnessError):
        write_archive(open_archived(folder), load_format("raw"), tmp_path / "copy.raw")
    assert not (tmp_path / "copy.raw").exists()
    file.unlink()
    assert_found(folder, "a file that is gone")
    file.write_bytes(whole)
    assert verify_archive(folder) == []


def test_a_journal_counts_up_to_its_last_whole_line(tmp_path: Path) -> None:
    folder = cut(tmp_path, "raw")
    text = (folder / NAME).read_bytes()
    ends = [k + 1 for k, byte in enumerate(text) if byte == ord("\n")]
    counts = {0: 0, 1: 1, 2: 4, 3: 7, 4: 8}  # tensors by lines: the input, two layers, the recycling step
    assert len(ends) == 5
    chance = random.Random(5)
    for size in (*ends, *(chance.randrange(ends[0], len(text)) for _ in range(30))):
        (folder / NAME).write_bytes(text[:size])
        lines = sum(end <= size for end in ends) - 1
        assert listed(folder, ARRAYS) == ORDER[: counts[lines]]
    for position in (chance.randrange(len(text) - 1) for _ in range(30)):
        (folder / NAME).write_bytes(text)
        damage(folder / NAME, position)
        assert_found(folder, f"a flipped bit at {position}")


def test_more_bytes_than_there_are_end_where_the_file_ends(tmp_path: Path) -> None:
    folder = cut(tmp_path, "hdf5")
    entry = {"lost": {"digest": "0" * 32, "stored": "0" * 32, "place": {"offset": 0, "length": 1 << 60}}}
    text = json.dumps(entry).encode()
    with (folder / NAME).open("ab") as file:
        file.write(b"%s %s\n" % (xxhash.xxh3_128_hexdigest(text).encode(), text))
    (problem,) = verify_archive(folder)
    assert "ends before the bytes of a tensor that was whole" in problem


@pytest.mark.parametrize("slimmed", [False, True])
def test_a_writer_without_checkpoints_says_so(slimmed, tmp_path):
    class Plain(RawWriter):
        checkpoint = None

    class Halfway(RawFormat):
        def writer(self, path, manifest, profile):
            return Plain(path)

    backend = Halfway()
    if slimmed:
        above = copy(load_format("hdf5-slim"))
        above._stand_above(backend)
        backend = above
    with pytest.raises(HarnessError, match="its writer has no checkpoint"):
        write_archive(StepTrace(SMALL), backend, tmp_path / "archive", keep_incomplete=True)


def test_a_journal_of_a_later_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("harness.formats.journal.VERSION", 2)
        folder = cut(tmp_path, "raw")
    with (
        pytest.raises(ArchiveError, match="has a journal of version 2; this reader knows version 1"),
        open_archive(folder),
    ):
        pass


@pytest.mark.parametrize("name", KEEPING)
def test_a_copy_still_says_that_it_is_incomplete(name: str, tmp_path: Path) -> None:
    folder = cut(tmp_path, "zarr-slim", "pair/layer_1")
    copy = tmp_path / "copy"
    trace = open_archived(folder)
    assert trace.label == "file:archive.slim.zarr.incomplete (incomplete)"
    write_archive(trace, load_format(name), copy)
    assert verify_archive(copy) == []
    with open_archive(copy) as (_, reader, manifest):
        assert manifest.incomplete == Incomplete(whole=4, planned=9, last_layer="layer_0")
        for path in ORDER[:4]:
            assert_same(reader.read(path), ARRAYS[path])
    assert open_archived(copy).label == "file:copy (incomplete)"


def test_the_inside_of_an_incomplete_archive_is_no_archive(tmp_path: Path) -> None:
    folder = cut(tmp_path, "zarr")
    with pytest.raises(UsageError, match=f"unfinished is only a part of an incomplete archive: give {folder}"):
        detect(folder / UNFINISHED)
    shutil.rmtree(folder / UNFINISHED)
    with pytest.raises(ArchiveError, match="holds a journal and nothing else: its archive was finished, or removed"):
        detect(folder)


def test_a_filesystem_without_locks_keeps_nothing_from_being_written_or_read(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    folder = cut(tmp_path, "npz")
    assert verify_archive(folder) == [] and not being_written(folder)
