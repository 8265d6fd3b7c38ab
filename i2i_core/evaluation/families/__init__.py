"""Define the metrics, a file for each family."""
