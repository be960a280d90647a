"""Drawings: the five plots, where time goes, where the choice flips."""
