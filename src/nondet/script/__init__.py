"""What runs inside a script's own process. It imports the standard library alone, and what the script imports."""
