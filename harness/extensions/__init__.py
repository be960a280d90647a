"""Everything that the core works without: each folder is found by entry point and imports the core alone."""
