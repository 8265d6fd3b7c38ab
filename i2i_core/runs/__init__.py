"""A run's folder: who has the run, and how it stands."""
