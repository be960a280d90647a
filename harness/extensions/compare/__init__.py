"""Regression checks: measure two commits or environments in turn on one machine, with a verdict for a gate."""
