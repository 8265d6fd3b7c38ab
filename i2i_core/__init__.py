"""Image-to-image translation GANs: methods, data stream, training step, and their launch on Ray."""
