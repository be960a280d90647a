"""What a suite asks for is checked against the trace before any format is asked."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness.errors import UsageError
from harness.run import planning
from harness.testing.samples import small_arrays, steps
from harness.workload import PlanOptions, Read, ReadAccess

EVERY = slice(0, 12)  # of the axes of (2, 12, 12)


class Suite:
    """A suite that asks for one part of one tensor."""

    name = "strange"

    def __init__(self, read: Read) -> None:
        self._read = read

    def plan(self, manifest, rng, options):
        return [ReadAccess(name="head", reads=(Read(path="pair/layer_0"), self._read))]


def planned(monkeypatch, read):
    monkeypatch.setattr(planning, "load_suite", lambda name: Suite(read))
    config = SimpleNamespace(suites=("strange",), seed=1, options=PlanOptions())
    return planning.plan_subject(config, "here", "here", None, steps(small_arrays()).manifest)


@pytest.mark.parametrize(
    "wrong",
    [
        *((part, EVERY, EVERY) for part in (slice(-1, 2), slice(0, 3), slice(2, 1), slice(0, 2, 2), 1)),
        *((part, EVERY, EVERY) for part in (slice(0.0, 1), slice(True, 2), slice("a", None))),
        *((slice(0, 1),) * number for number in (0, 2, 4)),
        [slice(0, 1), EVERY, EVERY],
    ],
    ids=str,
)
def test_a_part_that_is_none_is_refused_with_the_name_of_the_suite(monkeypatch, wrong):
    with pytest.raises(UsageError, match=r"The suite strange cannot be asked for head: .* slice"):
        planned(monkeypatch, Read(path="attention/layer_0", selection=wrong))


def test_a_tensor_that_is_not_there_is_refused_with_the_name_of_the_suite(monkeypatch):
    with pytest.raises(UsageError, match="The suite strange cannot be asked for head: pair/layer_7: expected one of"):
        planned(monkeypatch, Read(path="pair/layer_7"))


@pytest.mark.parametrize("part", [slice(0, 2), slice(None), slice(1, None), slice(np.int64(1), 2), slice(0, 1, 1)])
def test_parts_within_a_tensor_are_planned(monkeypatch, part):
    read = Read(path="attention/layer_0", selection=(part, EVERY, EVERY))
    assert planned(monkeypatch, read).plans[0][1].reads[1] is read
