"""Serve trained networks: what a request may ask, how it is answered, and the pages. Nothing here needs Ray."""
