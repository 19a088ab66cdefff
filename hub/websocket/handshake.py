"""The opening handshake of one connection (RFC 6455, section 4), until it is a link or refused."""

import asyncio
import http
from collections.abc import Callable, Sequence
from typing import Final, cast

import msgspec
from websockets.extensions.permessage_deflate import enable_server_permessage_deflate
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from hub.websocket.connection import WebSocketLink
from protocol.messages import PATH, SUBPROTOCOL

MOST_REQUEST_BYTES: Final = 16 * 1024
"""Of the request with its headers; browsers send cookies, so it is not small."""
_END: Final = b"\r\n\r\n"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection has to keep to: bytes in bytes, waits in seconds.

    `origins` are the pages that may connect, None: all; a client that is no page names none.
    """

    origins: Sequence[str] | None
    compression: bool
    max_frame_bytes: int
    send_buffer_bytes: int
    seconds: float


class Handshake(asyncio.Protocol):
    """A connection that has not yet become a WebSocket.

    One that takes too long is cut off, and so is one that comes when there are too many.
    """

    def __init__(
        self,
        terms: Terms,
        opened: Callable[[WebSocketLink], None],
        over: Callable[["Handshake"], None],
        *,
        is_crowded: bool,
    ) -> None:
        self._terms = terms
        self._opened = opened
        self._over = over
        self._is_crowded = is_crowded
        self._request = b""
        self._transport: asyncio.Transport
        self._deadline: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the request, but not for ever."""
        self._transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._terms.seconds, self.abort)
        if self._is_crowded:
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Take the request; what comes behind it is for the link."""
        self._request += data
        head, end, rest = self._request.partition(_END)
        if end:
            self._answer(head + end, rest)
        elif len(self._request) > MOST_REQUEST_BYTES:
            self.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """The peer went away, or was refused."""
        self._finish()

    def abort(self) -> None:
        """Cut the connection off."""
        self._transport.abort()

    def _answer(self, request: bytes, rest: bytes) -> None:
        protocol = _protocol(self._terms)
        protocol.receive_data(request)
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(self._response(protocol, event))
        self._transport.writelines([data for data in protocol.data_to_send() if data])
        if protocol.close_expected():
            self._transport.close()
        else:
            self._open(protocol, rest)

    def _response(self, protocol: ServerProtocol, request: Request) -> Response:
        if request.path.partition("?")[0] != PATH:
            return protocol.reject(http.HTTPStatus.NOT_FOUND, f"Devices connect to {PATH}.\n")
        return protocol.accept(request)

    def _open(self, protocol: ServerProtocol, rest: bytes) -> None:
        self._finish()
        link = WebSocketLink(self._transport, protocol, self._terms.send_buffer_bytes)
        self._transport.set_protocol(link)
        self._opened(link)
        if rest:
            link.data_received(rest)

    def _finish(self) -> None:
        self._deadline.cancel()
        self._over(self)


def _protocol(terms: Terms) -> ServerProtocol:
    origins = [*map(Origin, terms.origins), None] if terms.origins else None
    return ServerProtocol(
        origins=origins,
        extensions=enable_server_permessage_deflate(None) if terms.compression else None,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        max_size=terms.max_frame_bytes,
    )
