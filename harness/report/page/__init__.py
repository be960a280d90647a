"""Pages of a report: findings as sentences and tables, in one self-contained file."""
