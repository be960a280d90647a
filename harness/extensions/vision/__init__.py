"""Traces of two small image models that are trained on real digits: the first two stages of the archive's design."""
