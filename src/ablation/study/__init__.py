"""A stage of the study: its inputs, its entries, their trials, and the tables of results."""
