"""Judge images for metrics: a classifier that is trained here, and colours of classes."""
