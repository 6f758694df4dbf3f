"""A staged ablation of training techniques on EMNIST."""
