"""Figures, charts and the report of a study."""
