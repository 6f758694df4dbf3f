"""What every stage leans on: errors, files, and what a person sees."""
