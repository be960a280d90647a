"""Traces shared with the tests of the formats."""

from tests.formats.conftest import sample, small

__all__ = ["sample", "small"]
