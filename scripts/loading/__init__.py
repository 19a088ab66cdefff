"""The load generator and the bare relay: what `scripts/load` and `scripts/relay` are made of."""
