"""The Python API, available as ``harness.open`` and other names of ``harness``; docs/api.md has examples."""
