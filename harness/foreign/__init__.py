"""Files that other programs wrote, read without trusting them."""
