"""The asv face of the suites (`benchmarks`), and the project's own speed and memory targets."""
