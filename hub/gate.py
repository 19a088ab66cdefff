"""Where frames wait whose pushes a power cut could still undo.

A group is handed out while the disk writes it (hub/commit.py): the loop would else stand still.
Invariant: while the gate is shut, nothing that a device could hear leaves the process. It is opened
when the disk has synced, and what was held goes in the order in which it came; if the disk has
not, that is dropped: to the devices, it was never said.
"""

from typing import Protocol


class Way(Protocol):
    """Where what a link writes leaves the process."""

    def write(self, data: bytes, /) -> None:
        """Send it, behind what was written before."""


class Gate:
    """Shut and opened by who commits; each link asks it for every frame. Nobody waits at it."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: list[tuple[Way, bytes]] | None = None
        """What waits, and where it goes; None: it is open."""

    def shut(self) -> None:
        """Hold back what is written from now on."""
        self.held = []

    def open(self) -> None:
        """Let go of what was held."""
        held, self.held = self.held, None
        for transport, data in held or ():
            transport.write(data)

    def drop(self) -> None:
        """Forget what was held, if it is shut."""
        self.held = None
