"""The format torch-save."""
