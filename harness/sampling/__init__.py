"""Sampling: take samples in separate processes, with cache states, clocks, counters, workers, and verification."""
