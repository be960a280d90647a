"""What the tests of this room share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """A killed process leaves what it wrote to the system: waiting for the disk only makes these tests slow."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
