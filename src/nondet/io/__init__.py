"""Everything that reads or writes files, prints, or handles signals."""
