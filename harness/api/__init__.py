"""What notebooks and pipelines use, as ``harness.open`` and other names in ``harness``; docs/api.md has examples."""
