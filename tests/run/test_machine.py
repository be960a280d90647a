"""What is recorded of a machine: nothing is said that its processor does not tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.run import machine


@pytest.mark.parametrize(
    ("told", "cpu", "virtual"),
    [
        ("model name\t: A CPU\nflags\t\t: fpu hypervisor\n", "A CPU", True),
        ("model name\t: A CPU\nflags\t\t: fpu\n", "A CPU", False),
        ("processor\t: 0\nFeatures\t: fp asimd\n", "aarch64", None),
    ],
    ids=["guest", "host", "ARM, whose processors have no such flag"],
)
def test_a_machine_is_virtual_by_a_flag_alone(
    told: str, cpu: str, virtual: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.processor", lambda: "aarch64")
    found = machine.describe(tmp_path)
    assert (found["cpu"], found["virtual_machine"]) == (cpu, virtual)
