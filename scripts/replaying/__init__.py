"""What `scripts/replay` is made of."""
