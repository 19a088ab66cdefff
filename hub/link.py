"""One connection as the rest of the hub sees it: frames in, frames out, and no waiting to send.

Sending never waits: what the peer does not take stays in a buffer, and whoever sends looks at
`buffered`. Closing never waits either: the hub's sweep cuts off whoever does not answer.
"""

from collections.abc import Callable, Sequence
from typing import Protocol


class Link(Protocol):
    """A connection to one device. What it sent is text, or bytes where the frame was binary."""

    @property
    def buffered(self) -> int:
        """Bytes sent that the peer has not taken."""

    @property
    def is_full(self) -> bool:
        """Whether so much is buffered that no more should be sent before it has `drained`."""

    @property
    def taken(self) -> int:
        """Bytes of frames that the peer has taken so far."""

    @property
    def address(self) -> str:
        """Where the peer is: an IP address, its proxies seen through (hub/forwarded.py)."""

    @property
    def came(self) -> float:
        """When its connection came, by the loop's clock."""

    def send(self, frame: bytes) -> None:
        """Send a text frame; nothing happens once the link is closing."""

    def send_all(self, frames: Sequence[bytes]) -> None:
        """Send text frames in this order, all at once."""

    async def drained(self) -> None:
        """Wait until the peer has taken most of what was sent, or the link has broken."""

    async def receive(self) -> str | bytes | None:
        """The next frame, while nobody listens; None once the link is closing."""

    async def listen(self, take: Callable[[str | bytes], None]) -> None:
        """Hand each further frame to `take` as it comes, until the peer closes or is gone."""

    def pause(self) -> None:
        """Hand on no more frames, and read no more: the peer feels it, in time."""

    def resume(self) -> None:
        """Go on where `pause` stopped."""

    def close(self, code: int, reason: str) -> None:
        """Begin to close."""

    def abort(self) -> None:
        """Cut the connection off."""

    async def gone(self) -> None:
        """Wait until the connection is closed or cut off, and read past what still comes."""
