"""What is done with fitted models: predict, draw."""
