"""Everything that the number of a trial depends on."""
