"""Files: manifests, shards, exports. A leaf: imports no other package of pcfdsl."""
