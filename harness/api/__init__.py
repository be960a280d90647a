"""What notebooks and pipelines use, as ``harness.open`` and the other names in ``harness``; docs/api.md has examples."""
