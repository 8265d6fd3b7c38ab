"""Moving weights: the step, what it is made of, and the loop that repeats it."""
