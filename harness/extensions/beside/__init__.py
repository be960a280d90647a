"""Checked runs of several machines, file systems or library versions, side by side in one report."""
