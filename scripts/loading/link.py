"""One device's socket: the handshake by `websockets`, the frames by hand."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias, cast

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from scripts.loading.faults import Faults, LoadError
from scripts.loading.frames import CLOSE, PING, PONG, TEXT, BadFrame, FrameReader, client_frame

Take: TypeAlias = Callable[[bytes], None]
Feed: TypeAlias = Callable[[bytes], None]

DEADLINE: Final = 10.0
"""Seconds that anything may take that is not under measure: to connect, to answer, to leave."""

_NARROW_BYTES: Final = 8_192
_NARROW_SEGMENT: Final = 1_400
"""Bytes: of a packet on the internet. The system's send buffer grows with it."""

_GOODBYE: Final = client_frame(CLOSE, (1000).to_bytes(2, "big"))


class _Handshake(asyncio.Protocol):
    """Asks for the WebSocket; `done` tells whether the server agreed."""

    def __init__(self, uri: WebSocketURI) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client = ClientProtocol(uri, subprotocols=[Subprotocol("mobync.v1")])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client.send_request(self._client.connect())
        cast("asyncio.Transport", transport).writelines(self._client.data_to_send())

    def data_received(self, data: bytes) -> None:
        self._client.receive_data(data)
        for event in self._client.events_received():
            if isinstance(event, Response) and not self.done.done():
                self._settle()

    def _settle(self) -> None:
        if self._client.handshake_exc is not None:
            self.done.set_exception(self._client.handshake_exc)
        elif self._client.subprotocol != "mobync.v1":
            self.done.set_exception(LoadError("the server does not speak mobync.v1"))
        else:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed during the handshake"))


class Link(asyncio.Protocol):
    """The open WebSocket of the device `name` of `user`.

    `take` is called with the payload of each text frame, in order. While there is a `feed`, that
    is called instead with what comes, uncut.
    """

    def __init__(self, transport: asyncio.Transport, user: str, name: str, faults: Faults) -> None:
        self.user = user
        self.name = name
        self.faults = faults
        self.take: Take = self._unexpected
        self.feed: Feed | None = None
        self.lost = asyncio.Event()
        self._transport = transport
        self._reader = FrameReader()
        self._leaving = False
        self._given_up = False
        self._why = "the line broke"

    def send(self, payload: bytes) -> None:
        """Send one text frame; nothing is waited for. On a lost line it goes nowhere."""
        if not self._transport.is_closing():
            self._transport.write(client_frame(TEXT, payload))

    def how_it_is(self) -> str:
        """Whether the line is open, or why not, in words."""
        return self._why if self.lost.is_set() else "the line is open"

    def fault(self, words: str) -> None:
        """Count something that the server did wrong towards this device."""
        self.faults.add(f"{self.user}/{self.name}: {words}")

    def cut(self) -> None:
        """Break the line without a word, as a network does; no fault of the server's."""
        self._leaving = True
        self._transport.abort()

    def give_up(self) -> None:
        """Leave it to the server to close: another link takes this one's place."""
        self._given_up = True
        self.take = _ignore

    def stop_reading(self) -> None:
        """Take nothing more from the network, as a device does that is busy or asleep."""
        self._transport.pause_reading()

    def read_on(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    async def leave(self) -> None:
        """Say goodbye; a server that does not answer in time is cut off."""
        self._leaving = True
        if not self._transport.is_closing():
            self._transport.write(_GOODBYE)
        try:
            async with asyncio.timeout(DEADLINE):
                await self.lost.wait()
        except TimeoutError:
            self.fault("the server did not answer the close")
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand each frame to `take`, or deal with it if it is the socket's own business."""
        if self.feed is not None:
            self.feed(data)
            return
        try:
            for first, payload in self._reader.feed(data):
                if first == TEXT:
                    self.take(payload)
                else:
                    self._control(first, payload)
        except BadFrame as error:
            self._why = str(error)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it as a fault unless this side was leaving."""
        if not self._leaving and not self._given_up:
            self.fault(f"lost its connection: {exc or self._why}")
        self.lost.set()

    def _control(self, first: int, payload: bytes) -> None:
        if first == PING:
            self._transport.write(client_frame(PONG, payload))
        elif first == CLOSE:
            words = payload[2:].decode(errors="replace")
            self._why = f"closed with {int.from_bytes(payload[:2], 'big')} {words}"
            if not self._leaving:
                self._transport.write(_GOODBYE)

    def _unexpected(self, payload: bytes) -> None:
        self.fault(f"unasked for: {payload[:200]!r}")


async def _opened(uri: WebSocketURI, *, narrow: bool) -> tuple[asyncio.Transport, _Handshake]:
    loop = asyncio.get_running_loop()
    if not narrow:
        return await loop.create_connection(lambda: _Handshake(uri), uri.host, uri.port)
    line = socket.socket()
    try:
        line.settimeout(0)  # what a loop asks of it
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _NARROW_BYTES)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _NARROW_SEGMENT)
        await loop.sock_connect(line, (uri.host, uri.port))
        return await loop.create_connection(lambda: _Handshake(uri), sock=line)
    except BaseException:
        line.close()
        raise


def _ignore(_payload: bytes) -> None:
    pass


async def connect(
    uri: WebSocketURI, user: str, name: str, faults: Faults, *, narrow: bool = False
) -> Link:
    """Open a WebSocket for the device `name` of `user`.

    A `narrow` line holds some 300 KB under way, as one through a network does. One within a machine
    holds megabytes, so that a server learns late that a device reads nothing.
    """
    try:
        async with asyncio.timeout(DEADLINE):
            transport, handshake = await _opened(uri, narrow=narrow)
            await handshake.done
    except (OSError, TimeoutError, WebSocketException, LoadError) as error:
        where = f"{uri.host}:{uri.port}{uri.resource_name}"
        raise LoadError(f"no connection to {where}: {error or 'no answer in time'}") from error
    link = Link(transport, user, name, faults)
    transport.set_protocol(link)  # nothing is lost in between: a server speaks only after `hello`
    return link


@asynccontextmanager
async def linked(url: str, user: str, faults: Faults, name: str = "") -> AsyncIterator[Link]:
    """Be a device of `user` meanwhile, a new one if it has no name; it leaves with a goodbye."""
    link = await connect(parse_uri(url), user, name or secrets.token_hex(4), faults)
    try:
        yield link
    finally:
        await link.leave()
