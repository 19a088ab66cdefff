"""Many seeds of the simulation in tests/simulation, or one of them with all that happens in it."""
