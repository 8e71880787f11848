"""Statistics of arrays: numbers in, numbers out."""
