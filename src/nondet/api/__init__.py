"""The Python API: each function does what the command of the same name does, and returns as a record what that
prints."""
