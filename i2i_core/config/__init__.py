"""Declare every option of a run, a section a file."""
