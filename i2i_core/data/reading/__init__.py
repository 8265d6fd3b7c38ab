"""From shards to batches: order, reader, staging, transforms."""
