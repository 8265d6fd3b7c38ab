"""Folders of images as people have them."""
