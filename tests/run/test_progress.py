"""The time left is believable where a run goes from small traces to large ones."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace
from typing import Any

from harness.cli import terminal
from harness.cli.time_left import Pace
from harness.run.progress import weight
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import Role, TensorSpec
from harness.workload import Absent, Read, ReadAccess, SizeAccess, WriteAccess


def _manifest(nbytes: int) -> Any:
    return SimpleNamespace(nbytes=nbytes)


def test_the_time_left_follows_from_the_bytes_that_are_asked_for(monkeypatch, capsys):
    """Steps take 50 ms, and as long again for each 120 MB: 100 of 3 MB, then 100 of 1.2 GB."""
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    weights = [weight(_manifest(3_000_000)), weight(_manifest(1_200_000_000))]
    times = [0.05, 0.55]
    whole = 100 * sum(times)
    with terminal.progress(quiet=False) as progress:
        progress.total(sum(100 * weighs for weighs in weights))
        for weighs, seconds in zip(weights, times, strict=True):
            for _ in range(100):
                clock[0] += seconds
                progress.step("read", weighs)
    said = re.findall(r"(\d+) %  about (\d+) s left", capsys.readouterr().err)
    assert len(said) == 6  # the first after 2 s, then every 10 s
    for (percent, left), elapsed in zip(said, (2.0, 12.0, 22.0, 32.0, 42.0, 52.0), strict=True):
        assert abs(int(left) - (whole - elapsed)) <= 4 and abs(int(percent) - 100 * elapsed / whole) <= 5


def test_a_step_weighs_what_its_access_asks_for():
    axes = ("layer", "token", "channel")
    spec = TensorSpec(path="a", shape=(4, 150, 100_000), dtype="float32", axes=axes, role=Role.ARRAY)
    manifest = Manifest(tensors=(spec,), provenance=Provenance(source="t"))
    window = Read(path="a", selection=(slice(0, 1), slice(0, 150), slice(0, 100_000)))
    accesses = [
        ReadAccess(name="whole", reads=(Read(path="a"),)),
        ReadAccess(name="part", reads=(window, window)),
        WriteAccess(name="w", tensors=((("a", "a"),), (("b", "a"), ("c", "a")))),
        SizeAccess(name="s"),
        Absent(name="n", reason="none"),
    ]
    assert [weight(manifest, access) for access in (None, *accesses)] == [3, 3, 2, 5, 1, 1]


def test_the_first_steps_say_nothing_of_the_time_left(monkeypatch, capsys):
    """Archives are written in the first steps, each of which takes as long as many reads."""
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    with terminal.progress(quiet=False) as progress:
        progress.total(1000)
        clock[0] = 20.0
        progress.step("archives are written", 5)
        clock[0] = 40.0
        progress.step("read", 495)
    first, then = capsys.readouterr().err.splitlines()
    assert "time left not known yet" in first and "about 40 s left" in then


def test_a_step_that_takes_long_is_said_again_and_again(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "_BEAT", 0.001)
    monkeypatch.setattr(terminal, "_PLAIN_EVERY", 0.0)
    said, end = "", time.monotonic() + 60
    with terminal.busy("building both sides"):
        while said.count("building both sides") < 3 and time.monotonic() < end:
            said += capsys.readouterr().err
    assert said.count("building both sides") >= 3


def test_every_step_has_a_line_where_that_is_asked_for(capsys):
    with terminal.progress(quiet=False, verbose=True) as progress:
        progress.total(2)
        progress.step("one")
        progress.step("two")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["one", "two"]


def test_a_pace_that_changes_gives_a_range():
    pace = Pace(0.0)
    pace.begin(1000, 0.0)
    for second in range(1, 401):
        pace.add(1, float(second))
    assert pace.told(400.0) == " 40 %  about 10 min left"
    for second in range(401, 601):
        pace.add(1 if second % 4 == 0 else 0, float(second))
    assert pace.left(600.0) == "12 to 36 min left"  # 550 of 1000 left, at 600 s for 450, and at 121 s for 31
    assert Pace(5.0).told(9.0) == "4 s"
