"""Labelled characters, their seeded splits, and the table of data sets."""
