"""What makes training vary less, and what that costs: test-time augmentation, ensembles, averages of weights."""
