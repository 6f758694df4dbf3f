"""What a branch changed: two revisions of a study, compared from their files in git."""
