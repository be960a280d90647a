"""Presets of ``harness run``: fields of a configuration by name of the preset, from ``presets.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from harness.workload import PlanOptions


def _read() -> dict[str, dict[str, Any]]:
    found = tomllib.loads(Path(__file__).with_name("presets.toml").read_text())
    for values in found.values():
        values["options"] = msgspec.convert(values["options"], PlanOptions)
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return found


PRESETS = _read()
STANDARD, OWN = "standard", "own"
"""Default presets: for runs on traces, and for runs on files given by the user."""
