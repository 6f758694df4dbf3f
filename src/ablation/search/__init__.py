"""A search over all techniques at once, at the cost of the chain."""
