"""Read and write images: codecs that trust no file, and contact sheets."""
