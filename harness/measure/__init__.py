"""How it is timed: samples, the schedule of rounds, cache states, and the record of the machine."""
