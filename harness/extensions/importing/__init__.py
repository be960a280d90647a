"""Importers that convert files of other programs to a trace without inventing values: one module per kind of source."""
