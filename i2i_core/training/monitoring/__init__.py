"""Log how a run goes, and show it: readings, diagnosis, trackers."""
