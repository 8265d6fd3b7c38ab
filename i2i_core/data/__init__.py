"""From the folders people have to batches on the device: layouts, shards, manifest, stream."""
