"""Traces of two small image models, trained here on real digits: the first two stages of the archive's design."""
