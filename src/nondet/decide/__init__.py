"""From figures to decisions, as pure functions of numpy arrays."""
