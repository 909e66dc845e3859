"""Files: manifests, shards, exports. A leaf that knows numpy only."""
