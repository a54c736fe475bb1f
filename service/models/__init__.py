"""Models on disk and in memory: manifests, the store that verifies them, and the runtimes that run them."""
