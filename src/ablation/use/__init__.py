"""Applications of fitted models: `ablation predict` and `ablation draw`."""
