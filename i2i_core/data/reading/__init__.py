"""Turn shards into batches: order, reader, staging, transforms."""
