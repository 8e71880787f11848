"""A study on disk: its design, its runs, and what proves that they are its own."""
