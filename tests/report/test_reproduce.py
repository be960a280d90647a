"""The command that a report gives asks for the run that it is of."""

from __future__ import annotations

import dataclasses
import shlex

import pytest

from harness.report.page.reproduce import command_of
from tests.conftest import TINY


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({"readers": ("stock",), "threads": 1}, ["--readers", "stock", "--threads", "1"]),
        ({"readers": ("stock", "best"), "cache_bytes": 0}, ["--decoded-cache", "0"]),
    ],
)
def test_readers_and_budgets_are_asked_for(change, options):
    words = shlex.split(command_of(dataclasses.replace(TINY, **change), "out"))
    for option, value in zip(options[::2], options[1::2], strict=True):
        assert words[words.index(option) + 1] == value
    unasked = {"--readers", "--threads", "--decoded-cache"} - set(options)
    assert not unasked & set(words)
