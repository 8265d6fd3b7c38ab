"""The built-in world of streets: a street seen from a moving camera, drawn by numpy alone."""
