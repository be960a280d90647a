"""Breakdown of the time of a read into measured parts."""
