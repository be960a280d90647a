"""Attacks that take long: each module has a `main` that prints its counts and returns 1 when one succeeds."""
