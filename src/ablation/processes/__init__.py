"""Processes: those that start with libraries imported, worker pools, and how they end."""
