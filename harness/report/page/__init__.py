"""The report as a page: findings put into words, tables and one self-contained file."""
