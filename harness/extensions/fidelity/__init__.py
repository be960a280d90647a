"""Comparison of synthetic tensors with real ones."""
