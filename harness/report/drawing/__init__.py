"""Drawings: the plots of suites, formats by criterion, attribution of differences, and scaling over workers."""
