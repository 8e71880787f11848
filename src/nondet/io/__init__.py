"""Everything that reads or writes files, and how a process speaks and stops."""
