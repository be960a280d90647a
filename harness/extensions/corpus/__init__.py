"""Representations of many proteins in one trace, and the reads of training on them."""
