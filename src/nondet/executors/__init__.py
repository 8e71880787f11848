"""Where stacks are trained: this process, and helper processes beside it."""
