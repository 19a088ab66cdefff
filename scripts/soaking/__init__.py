"""Hours of pushes and of devices that come and go: what `scripts/soak` is made of."""
