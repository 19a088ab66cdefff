"""A link to the hub: what a connection needs of the network, and the WebSocket that gives it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from client.errors import LinkClosed, LinkFailed
from protocol.messages import SUBPROTOCOL

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""The largest frame taken: eight times what a hub with the default limits sends."""
OPEN_TIMEOUT: Final = 10.0
CLOSE_TIMEOUT: Final = 2.0
PING_INTERVAL: Final = 20.0
PING_TIMEOUT: Final = 60.0

_quiet: Final = logging.getLogger("mobync.client.link")
_quiet.setLevel(logging.INFO)
"""Of websockets; at debug level it would show each frame, and so the token."""


class Link(Protocol):
    """One connection, already open. `send` and `receive` may be under way at the same time."""

    async def send(self, frame: bytes) -> None:
        """Send one text frame; returns when there is room for another.

        Raises:
            LinkClosed: the connection has ended.

        """

    async def receive(self) -> bytes:
        """The next frame; what came before the end is still given.

        Raises:
            LinkClosed: the connection has ended, with the hub's code where it gave one.

        """

    async def close(self) -> None:
        """End it, within a deadline of its own; nothing happens if it has ended."""


Connect: TypeAlias = Callable[[], Awaitable[Link]]
"""Opens a link to the hub, or raises `LinkFailed`."""


def websocket(url: str) -> Connect:
    """How to reach the hub at a `ws://…` or `wss://…` address.

    Raises:
        websockets.exceptions.InvalidURI: it is no such address.

    """
    parse_uri(url)

    async def open_link() -> Link:
        return WebSocketLink(await _opened(url))

    return open_link


async def _opened(url: str) -> ClientConnection:
    try:
        socket = await connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            ping_interval=PING_INTERVAL,
            ping_timeout=PING_TIMEOUT,
            max_size=MAX_FRAME_BYTES,
            logger=_quiet,
        )
    except (OSError, WebSocketException, ValueError) as error:  # the last two: sent to no address
        raise LinkFailed(f"no connection to {url}: {error}") from error
    if socket.subprotocol != SUBPROTOCOL:
        await socket.close()
        raise LinkFailed(f"{url} answers, but does not speak {SUBPROTOCOL}: is it a hub's address?")
    return socket


class WebSocketLink:
    """A link over a WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        """Send one text frame."""
        try:
            await self._socket.send(frame, text=True)
        except ConnectionClosed as closed:
            raise _meaning(closed) from None

    async def receive(self) -> bytes:
        """The next frame."""
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            raise _meaning(closed) from None

    async def close(self) -> None:
        """Say goodbye; a hub that takes nothing any more is left standing.

        `ClientConnection.close` can wait for ever where the send buffer is full.
        """
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._socket.close()
        except TimeoutError:
            self._socket.transport.abort()
            await self._socket.wait_closed()


def _meaning(closed: ConnectionClosed) -> LinkClosed:
    """Only a code that the hub chose says anything about coming back.

    When this side hung up first, as over a frame too large, the hub only repeats our own code.
    """
    if closed.rcvd is None or closed.rcvd_then_sent is False:
        return LinkClosed(None, f"the line broke ({closed})")
    return LinkClosed(closed.rcvd.code, closed.rcvd.reason or "the hub closed the connection")
