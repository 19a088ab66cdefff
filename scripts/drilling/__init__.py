"""A hub that is run as systemd runs it, and what its devices feel of a restart."""
