"""Turn the folders people have into batches on the device: layouts, shards, manifest, stream."""
