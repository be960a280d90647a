"""Scripts that measure this project's own goals; not installed with it."""
