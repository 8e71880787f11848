"""What a task's outputs are: one object a kind."""
