"""Keep a data set on storage: manifest, index, shards, and what writes them."""
