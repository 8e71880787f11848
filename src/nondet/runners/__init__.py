"""How a run is made: one object for each way."""
