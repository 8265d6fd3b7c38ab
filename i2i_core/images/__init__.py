"""Images: codecs that trust no file, and contact sheets."""
