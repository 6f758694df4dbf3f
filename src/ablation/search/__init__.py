"""A search over all techniques at once, at the same cost as the chain, or another."""
