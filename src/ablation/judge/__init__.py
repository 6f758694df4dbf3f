"""Statistics: verdicts of stages, contributions of techniques, evaluation on the test set."""
