"""What a study found: measured, as a table, and in words."""
