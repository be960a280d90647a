"""Analysis of a run's samples: verdicts, grades, scaling, and the choice of a format for a use."""
