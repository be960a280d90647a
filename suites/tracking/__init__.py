"""The asv face of the suites, and the project's own speed and memory targets."""
