"""The format ``safetensors``."""
