"""A study on disk: its design, its runs, and the proof that they belong to it."""
