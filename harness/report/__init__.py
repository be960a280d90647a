"""Reports of runs: pages with sentences and tables, drawings, and sections of extensions."""
