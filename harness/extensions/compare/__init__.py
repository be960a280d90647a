"""Regressions: two commits or two environments measured in turn on one machine, and the verdict that a gate needs."""
