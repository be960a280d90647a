"""How it is timed: which samples in which order, from which archives, and the record of the run and its machine."""
