"""Which runs are missing, who makes them, and how far they are."""
