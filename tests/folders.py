"""Where tests make their files that are not about the disk."""

from pathlib import Path

RAM = Path("/dev/shm")  # noqa: S108 - folders of our own are made in it
IN_MEMORY = RAM if RAM.is_dir() else None
"""There a sync costs nothing. None, where a system has no such folder: wherever it would be."""
