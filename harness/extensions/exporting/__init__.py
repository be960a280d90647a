"""Write archives in the layouts of other programs, complete or not at all."""
