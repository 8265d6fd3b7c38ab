"""Image-to-image translation GANs: methods, data stream, training step, and their launch on Ray."""

import time

BEGAN = time.monotonic()
"""When this program began, nearly: what it imports first of the package is this."""
