"""What the hub must decide, written a second time from docs/protocol.md alone."""
