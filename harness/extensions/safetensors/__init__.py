"""The format safetensors."""
