"""What runs trials: executors here and on a cluster, the memory of trials, and the hardware."""
