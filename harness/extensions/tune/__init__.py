"""Search for settings: candidates of one format compete on a sample of a trace, for one use of it."""
