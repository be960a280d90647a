"""Slimming of AlphaFold result directories without loss, restoring, and reading in either state."""
