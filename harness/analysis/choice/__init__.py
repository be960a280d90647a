"""Choice of a format: a mix of accesses, its cost in each format, and what would change the choice."""
