"""Conformance suites for plug-ins: subclass one in a test file, and pytest runs it on your plug-in."""

from harness.testing.conformance import FormatConformance, failing_checks

__all__ = ["FormatConformance", "failing_checks"]
