"""Networks that others trained: files of weights, judges, and what losses see through."""
