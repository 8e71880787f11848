"""From figures to decisions: statistics of arrays, which know no study."""
