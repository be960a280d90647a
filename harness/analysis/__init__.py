"""What a run's samples mean: verdicts, grades, growth, and the choice of a format for a use."""
