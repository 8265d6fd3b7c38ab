"""Metrics, a family of them a file."""
