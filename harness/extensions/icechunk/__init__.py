"""The format ``icechunk``."""
