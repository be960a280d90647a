"""Archives in an object store, read through one client that counts requests."""
