"""Share a generator: write it as a folder with a model card, and exchange such folders with the Hugging Face hub."""
