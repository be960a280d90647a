"""The format icechunk."""
