"""How a run is made: one object a way."""
