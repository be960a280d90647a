"""The format blosc2."""
