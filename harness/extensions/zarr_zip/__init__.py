"""The format zarr-zip."""
