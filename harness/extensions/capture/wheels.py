"""Versions of the wheels of models whose modules are known; they are installed without what they declare."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

WHEELS = {"openfold3": "0.5.0", "antiberty": "0.1.3"}


def other_version(name: str) -> str:
    """Say that a wheel is installed in another version than the one whose modules are known; empty where it is not."""
    known = WHEELS[name]
    try:
        found = version(name)
    except PackageNotFoundError:
        found = "a copy without a version"
    if found.partition("+")[0] == known:
        return ""
    return f"is captured from {name} {known}, and {found} is installed: pip install --no-deps {name}=={known}"
