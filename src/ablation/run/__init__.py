"""Running trials: local and cluster executors, the cache of results, and the hardware."""
