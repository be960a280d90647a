"""One sample, taken in a process of its own: cache states, clocks, counters, readers together, and verification."""
