"""What a run of the pipeline would cost, before it runs."""
