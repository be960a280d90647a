"""Which settings: candidates of one format raced on a sample of a trace, for one use of it."""
