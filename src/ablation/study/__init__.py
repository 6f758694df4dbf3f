"""A stage of the study: its inputs, the trials of its entries, and the tables they fill."""
