"""Training: many runs of one task as one program."""
