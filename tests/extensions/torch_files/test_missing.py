"""What torch-save says without torch, and of profiles that it cannot take."""

from __future__ import annotations

import sys

import pytest

from harness.errors import UsageError
from harness.extensions.torch_files.format import TorchSaveFormat
from harness.formats.base import UnsupportedProfile, load_format
from harness.trace.schema import tensor


def test_a_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"'torch-save' needs the package 'torch': pip install torch==2\.13\.0"):
        load_format("torch-save")


def test_it_has_no_settings_to_match() -> None:
    with pytest.raises(UnsupportedProfile, match="neither chunks nor codecs"):
        TorchSaveFormat().layout(tensor("pair/layer_0", (9, 9, 4)), "matched")
