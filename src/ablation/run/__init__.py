"""What runs trials: the laboratory, its workers and memory, and the hardware."""
