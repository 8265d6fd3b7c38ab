"""Every option of a run."""
