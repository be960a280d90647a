"""Copies of a model's tensors: float32 as it is, and no other type under that name."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import HarnessError

torch = pytest.importorskip("torch", reason="captures run in an environment with torch")

from harness.extensions.capture.trunk import copied  # noqa: E402  (it imports torch)


def test_a_copy_does_not_change_with_the_models_own():
    own = torch.arange(3.0)
    kept = copied(own)
    own += 1
    assert kept.dtype == np.float32 and kept.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_values_of_another_type_are_refused(kind):
    with pytest.raises(HarnessError, match=f"computes in {kind}, and captures store float32"):
        copied(torch.zeros(2, dtype=getattr(torch, kind)))
