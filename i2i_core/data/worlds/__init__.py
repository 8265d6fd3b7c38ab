"""Built-in data: pictures that are drawn, not downloaded."""
