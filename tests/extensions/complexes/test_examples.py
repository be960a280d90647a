"""The committed examples: below 1 MB, sound, conforming, and of the values that the source makes."""

from __future__ import annotations

import pytest

from benchmarks.examples import FORMATS, TOKENS, TRACE, path_of
from harness.foreign.conforming import schema_problems
from harness.formats.archive import archive_size, open_archive, verify_archive
from harness.trace.sources import open_trace
from harness.trace.stream import digest_blocks


@pytest.mark.parametrize("name", FORMATS)
def test_an_example_is_current_small_and_conforms(name):
    path = path_of(name)
    assert verify_archive(path) == [] and schema_problems(path) == []
    assert archive_size(path)[0] < 1_000_000
    trace = open_trace(TRACE, TOKENS)
    with open_archive(path) as (_, _, manifest):
        assert manifest.chains == trace.manifest.chains
        found = dict(manifest.digests)
    expected = {spec.path: digest_blocks(trace.blocks(spec.path)) for spec in trace.manifest.tensors}
    assert found == expected, "run python -m benchmarks.examples"
