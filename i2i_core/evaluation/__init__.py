"""How good a generator is: metrics, the classifier they lean on, and contact sheets to look at."""
