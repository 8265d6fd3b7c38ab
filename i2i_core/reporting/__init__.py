"""Reports: what runs left behind, read back and put on one page."""
