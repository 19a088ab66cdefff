"""What went wrong while a server was under load: counted, with the first few in words."""

from typing import Final

_TOLD: Final = 5


class LoadError(Exception):
    """The run cannot go on: the message says what happened and what to do."""


class Faults:
    """The faults of one round; any of them makes the exit code 1."""

    def __init__(self) -> None:
        self.count = 0
        self.told: list[str] = []

    def add(self, words: str, count: int = 1) -> None:
        """Count a fault, and keep its words if it is among the first."""
        self.count += count
        if len(self.told) < _TOLD:
            self.told.append(words)
