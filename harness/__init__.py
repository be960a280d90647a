"""Measure which file format suits protein-model inference traces."""

__version__ = "0.1.0"
