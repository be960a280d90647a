"""Representations of many proteins in one trace, and the reads of whoever trains on them."""
