"""One connection as the rest of the hub sees it: frames in, frames out, and no waiting to send.

Sending never waits: what the peer does not take stays in a buffer, and whoever sends looks at
`buffered`. Closing never waits either: the hub's sweep cuts off whoever does not answer.
"""

import contextlib
from typing import Protocol

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed


class Link(Protocol):
    """A connection to one device."""

    @property
    def buffered(self) -> int:
        """Bytes sent that the peer has not taken."""

    @property
    def taken(self) -> int:
        """Bytes of frames that the peer has taken so far."""

    @property
    def address(self) -> str:
        """Where the peer is, for the logs."""

    def send(self, frame: bytes) -> None:
        """Send a text frame; nothing happens once the link is closing."""

    async def drained(self) -> None:
        """Wait until the peer has taken most of what was sent, or the link has broken."""

    async def receive(self) -> str | bytes | None:
        """The next frame: text, or bytes where it was binary; None once the link is closed."""

    def close(self, code: int, reason: str) -> None:
        """Begin to close."""

    def abort(self) -> None:
        """Cut the connection off."""


class WebSocketLink:
    """A `Link` over a WebSocket of the `websockets` server."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._sent = 0

    @property
    def buffered(self) -> int:
        """Bytes sent that the peer has not taken."""
        return self._connection.transport.get_write_buffer_size()

    @property
    def taken(self) -> int:
        """Bytes of frames that the peer has taken so far."""
        return self._sent - self.buffered

    @property
    def address(self) -> str:
        """Where the peer is, for the logs."""
        address = self._connection.remote_address
        return f"{address[0]}:{address[1]}" if address else "?"

    def send(self, frame: bytes) -> None:
        """Send a text frame; nothing happens once the link is closing."""
        self._sent += len(frame)
        broadcast((self._connection,), frame, text=True)

    async def drained(self) -> None:
        """Wait until the peer has taken most of what was sent, or the link has broken."""
        with contextlib.suppress(OSError):
            await self._connection.drain()

    async def receive(self) -> str | bytes | None:
        """The next frame: text, or bytes where it was binary; None once the link is closed."""
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None

    def close(self, code: int, reason: str) -> None:
        """Begin to close.

        Not by the connection's own `close`, which waits for a peer that may take nothing.
        """
        with contextlib.suppress(Exception):
            self._connection.protocol.send_close(code, reason)
            self._connection.send_data()

    def abort(self) -> None:
        """Cut the connection off."""
        self._connection.transport.abort()
