"""Checkpoints: their files and checksums, what is made of them, and what starts from them."""
