"""Known versions of the wheels of models, whose modules captures use; wheels are installed without dependencies."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

WHEELS = {"openfold3": "0.5.0", "antiberty": "0.1.3"}


def other_version(name: str) -> str:
    """Return a message if the installed version of a wheel is not the known one; empty if it is."""
    known = WHEELS[name]
    try:
        found = version(name)
    except PackageNotFoundError:
        found = "a copy without a version"
    if found.partition("+")[0] == known:
        return ""
    return f"is captured from {name} {known}, and {found} is installed: pip install --no-deps {name}=={known}"
