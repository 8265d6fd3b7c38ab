"""Image-to-image translation GANs: methods, data stream, training step, and their launch on Ray."""

import time

BEGAN = time.monotonic()
"""Seconds on the monotonic clock when the program began, nearly: programs import this file before any other of ours."""
