"""What a use would cost beyond what was measured: a model of a run's cells, and its projection onto a store."""
