"""Read folders of images as people have them."""
