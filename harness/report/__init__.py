"""What it means: statistics, the summary of cells, plots and tables."""
