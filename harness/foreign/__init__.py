"""Import of files that other programs wrote, without trusting them."""
