"""Where things run: the only folder that imports Ray."""
