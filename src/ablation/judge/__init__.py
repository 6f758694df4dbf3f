"""What the numbers mean: which setting wins a stage, and how good the fitted models are."""
