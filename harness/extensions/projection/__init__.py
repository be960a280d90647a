"""Cost of a use beyond the measurements: a cost model of a run's cells, and its projection onto a store."""
