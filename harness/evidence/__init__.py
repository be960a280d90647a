"""Evidence: a run packed into one file, and the check that everything published follows from its samples."""
