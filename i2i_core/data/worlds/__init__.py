"""Draw built-in data, which needs no download."""
