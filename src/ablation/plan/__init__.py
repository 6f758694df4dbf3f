"""Dry run: the stages, trainings and time that `dvc repro` would need."""
