"""`ablation diff`: compares a study with another revision of it, from their files in git."""
