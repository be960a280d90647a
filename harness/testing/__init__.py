"""Conformance suites for what others add: subclass one in a test file, and pytest runs it on yours."""

from harness.testing.conformance import FormatConformance, failing_checks

__all__ = ["FormatConformance", "failing_checks"]
