"""What the hub counts, as Prometheus reads it. The hub itself knows nothing of this package."""
