"""What a device and the hub agree on, and nothing else.

Pure: no sockets, files, clocks, randomness or tasks. Whoever writes a device or a hub in another
language repeats this package and only this package. Its text is `docs/protocol.md`.
"""
