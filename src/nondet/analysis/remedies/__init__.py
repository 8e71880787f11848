"""What makes training vary less, and what that costs."""
