"""Whether synthetic tensors resemble real ones."""
