"""Runs: select the samples and their order, write the archives, and record the results and the machine."""
