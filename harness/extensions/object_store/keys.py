"""Under which key what belongs to an archive lies in a store."""

from __future__ import annotations


def beside(key: str) -> str:
    """Return the key of what is stored beside an archive."""
    return f"{key}.references.json"
