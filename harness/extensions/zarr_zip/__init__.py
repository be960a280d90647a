"""The format ``zarr-zip``."""
