"""The worker processes: one for each run that is running."""
