"""The format ``torch-save``."""
