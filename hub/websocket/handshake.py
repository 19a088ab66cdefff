"""The opening handshake of one connection (RFC 6455, section 4), until it is a link or refused."""

import asyncio
import http
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import msgspec
import structlog
from websockets.exceptions import (
    HeaderLineTooLong,
    InvalidMethod,
    InvalidOrigin,
    InvalidUpgrade,
    NegotiationError,
    RequestLineTooLong,
    TooManyHeaders,
)
from websockets.extensions.permessage_deflate import enable_server_permessage_deflate
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from hub.errors import HandshakeFault
from hub.forwarded import Proxies, connected_from
from hub.gate import Gate
from hub.origins import Pages
from hub.websocket.connection import Peer, WebSocketLink
from protocol.messages import PATH, SUBPROTOCOL

MOST_REQUEST_BYTES: Final = 16 * 1024
"""Of the request with its headers; browsers send cookies, so it is not small."""
_END: Final = b"\r\n\r\n"
_FAULTS: Final[Mapping[type[Exception] | type[None], HandshakeFault]] = {
    type(None): "path",
    InvalidOrigin: "origin",
    InvalidMethod: "not_upgraded",
    InvalidUpgrade: "not_upgraded",
    NegotiationError: "subprotocol",
    RequestLineTooLong: "too_large",
    HeaderLineTooLong: "too_large",
    TooManyHeaders: "too_large",
}
"""By what the library finds wrong, which never looks at the path; all else is malformed."""

logger: Final = structlog.get_logger("hub")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection has to keep to: bytes in bytes, waits in seconds.

    `seconds` go from the moment in which a connection came to the end of its handshake.
    """

    pages: Pages
    proxies: Proxies
    compression: bool
    max_frame_bytes: int
    send_buffer_bytes: int
    seconds: float


class Handshake(asyncio.Protocol):
    """A connection that has not yet become a WebSocket.

    One that takes too long is cut off, and so is one that comes when there are too many, in all or
    from its address: `admit` says so. `refused` hears why one does not become a WebSocket, but for
    those that leave by themselves.
    """

    def __init__(
        self,
        terms: Terms,
        gate: Gate,
        admit: Callable[["Handshake", str], bool],
        opened: Callable[[WebSocketLink], None],
        over: Callable[["Handshake"], None],
        refused: Callable[[HandshakeFault], None],
    ) -> None:
        self._terms = terms
        self._gate = gate
        self._admit = admit
        self._came = asyncio.get_running_loop().time()
        self._opened = opened
        self._over = over
        self._refused = refused
        self._request = b""
        self._transport: asyncio.Transport
        self._deadline: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the request, but not for ever."""
        self._transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_at(self._came + self._terms.seconds, self._cut_off, "too_slow")
        if not self._admit(self, connected_from(self._transport)):
            self._cut_off("crowded")

    def data_received(self, data: bytes) -> None:
        """Take the request; what comes behind it is for the link."""
        self._request += data
        head, end, rest = self._request.partition(_END)
        if end:
            self._answer(head + end, rest)
        elif len(self._request) > MOST_REQUEST_BYTES:
            self._cut_off("too_large")

    def connection_lost(self, _error: Exception | None) -> None:
        """The peer went away, or was refused."""
        self._finish()

    def abort(self) -> None:
        """Cut the connection off."""
        self._transport.abort()

    def _cut_off(self, fault: HandshakeFault) -> None:
        if not self._transport.is_closing():  # else it was refused, and does not take its answer
            self._refused(fault)
        self.abort()

    def _answer(self, request: bytes, rest: bytes) -> None:
        protocol = _protocol(self._terms)
        protocol.receive_data(request)
        address = connected_from(self._transport)
        for event in protocol.events_received():
            if isinstance(event, Request):
                said = event.headers.get_all(self._terms.proxies.header)
                address = self._terms.proxies.peer(address, said)
                protocol.send_response(self._response(protocol, event))
        self._transport.writelines([data for data in protocol.data_to_send() if data])
        if protocol.close_expected():
            self._refuse(_FAULTS.get(type(protocol.handshake_exc), "malformed"), address)
        else:
            self._open(protocol, rest, Peer(address, self._came))

    def _response(self, protocol: ServerProtocol, request: Request) -> Response:
        if request.path.partition("?")[0] != PATH:
            return protocol.reject(http.HTTPStatus.NOT_FOUND, f"Devices connect to {PATH}.\n")
        return protocol.accept(request)

    def _refuse(self, fault: HandshakeFault, address: str) -> None:
        """Close, and say who was refused and why; not the path, in which may be a token."""
        logger.info("handshake refused", reason=fault, address=address)
        self._refused(fault)
        self._transport.close()

    def _open(self, protocol: ServerProtocol, rest: bytes, peer: Peer) -> None:
        self._finish()
        most = self._terms.send_buffer_bytes
        link = WebSocketLink(self._transport, protocol, most, peer, self._gate)
        self._transport.set_protocol(link)
        self._opened(link)
        if rest:
            link.data_received(rest)

    def _finish(self) -> None:
        self._deadline.cancel()
        self._over(self)


def _protocol(terms: Terms) -> ServerProtocol:
    return ServerProtocol(
        origins=_origins(terms.pages),
        extensions=enable_server_permessage_deflate(None) if terms.compression else None,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        max_size=terms.max_frame_bytes,
    )


def _origins(pages: Pages) -> Sequence[Origin | re.Pattern[str] | None] | None:
    """The pages as the library wants them; who is no page names no origin, and may connect."""
    if pages is None:
        return None
    return [*(Origin(page) if isinstance(page, str) else page for page in pages), None]
