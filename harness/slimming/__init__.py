"""Slimming, a layer above every format: equal tensors once, values in the fewest bytes that hold them exactly."""
