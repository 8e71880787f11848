"""Where runs are made."""
