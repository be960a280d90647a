"""Live capture: run a model on a sequence and write its trace while it computes."""
