"""The choice of a format: a mix of accesses, what it costs in each format, and what would change the answer."""
