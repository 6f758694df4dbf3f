"""What a study looks like: figures from its numbers, and the report that writes them."""
