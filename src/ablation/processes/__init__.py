"""Processes: a fork server with preloaded libraries, worker pools, and the context of stages."""
