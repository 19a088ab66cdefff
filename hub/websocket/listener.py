"""Listens for devices, and owns their connections from the first byte to the last."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from hub.addresses import Address, Addresses
from hub.endless import meanwhile
from hub.errors import HandshakeFault
from hub.gate import Gate
from hub.tls.front import tls_options
from hub.tls.identity import Shows
from hub.websocket.connection import WebSocketLink
from hub.websocket.handshake import Handshake, Terms
from hub.websocket.keepalive import KeepAlive

BACKLOG: Final = 4096
"""Connections that the kernel holds until they are accepted: all devices may come back at once."""

logger: Final = structlog.get_logger("hub")


class Listener:
    """Accepts connections, and has each that becomes a WebSocket served by `serve`."""

    def __init__(
        self,
        serve: Callable[[WebSocketLink], Coroutine[Any, Any, None]],
        terms: Terms,
        gate: Gate,
        addresses: Addresses,
        refused: Callable[[HandshakeFault], None],
        *,
        max_handshakes: int,
        ping_seconds: float,
        ping_timeout_seconds: float,
        identity: Shows | None = None,
    ) -> None:
        self._serve = serve
        self._terms = terms
        self._gate = gate
        self._addresses = addresses
        self._max_handshakes = max_handshakes
        self._refused = refused
        self._options = tls_options(
            identity, most=max_handshakes, seconds=terms.seconds, refused=self._note_refused
        )
        self._is_closed = False
        self._handshakes: dict[Handshake, Address] = {}
        self._is_quiet = asyncio.Event()
        self._links: dict[WebSocketLink, asyncio.Task[None]] = {}
        self._keep_alive = KeepAlive(self._links.keys(), ping_seconds, ping_timeout_seconds)

    @asynccontextmanager
    async def listening(
        self, host: str, port: int, given: socket.socket | None = None
    ) -> AsyncIterator[tuple[str, int]]:
        """Listen for as long as this lasts; the address. Port 0 is a free one.

        A socket that is given listens already, and goes on when this ends.

        Raises:
            OSError: nobody can listen there.

        """
        loop = asyncio.get_running_loop()
        where: dict[str, Any] = {"sock": given} if given else {"host": host, "port": port}
        self._server = await loop.create_server(
            self._arrive, **where, backlog=BACKLOG, **self._options
        )
        async with meanwhile(self._keep_alive.run(), "keep-alive"):
            try:
                address, number = self._server.sockets[0].getsockname()[:2]
                yield address, number
            finally:
                self.close()

    def keep_to(self, terms: Terms, ping_seconds: float, ping_timeout_seconds: float) -> None:
        """Have whoever comes from now on keep to these terms, and all be pinged so."""
        self._terms = terms
        self._keep_alive.keep_to(ping_seconds, ping_timeout_seconds)

    async def let_in(self, seconds: float) -> None:
        """Take no more connections, but let those that are here become WebSockets for a moment.

        Whoever was not refused by the kernel is told by a frame, and not by a reset.
        """
        self._server.close()
        # Who was accepted in this turn of the loop is known in the next; behind TLS, when the
        # handshake of that is over.
        await asyncio.sleep(seconds if self._options else 0)
        if self._handshakes:
            self._is_quiet.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_quiet.wait()

    def close(self) -> None:
        """Take no more connections; those that have not become a WebSocket are cut off."""
        self._is_closed = True
        self._server.close()
        for handshake in tuple(self._handshakes):
            handshake.abort()

    async def served(self) -> None:
        """Wait until every connection has been served to its end."""
        while self._links:
            await asyncio.wait(self._links.values())

    def abort(self) -> None:
        """Cut off whoever is still connected."""
        for link in tuple(self._links):
            link.abort()

    def _arrive(self) -> Handshake:
        """Take a connection; it is known here once it has come through TLS, if that is spoken."""
        return Handshake(
            self._terms, self._gate, self._admit, self._begin, self._over, self._note_refused
        )

    def _admit(self, handshake: Handshake, where: str) -> bool:
        if len(self._handshakes) >= self._max_handshakes or self._is_closed:
            return False
        address = self._addresses.enter(where, asyncio.get_running_loop().time())
        self._handshakes[handshake] = address
        return self._addresses.has_room(address)

    def _note_refused(self, fault: HandshakeFault) -> None:
        """Whoever comes while the hub stops is not at fault."""
        if not self._is_closed:
            self._refused(fault)

    def _over(self, handshake: Handshake) -> None:
        address = self._handshakes.pop(handshake, None)
        if address is not None:
            self._addresses.greeted(address)
            self._addresses.leave(address)
        if not self._handshakes:
            self._is_quiet.set()

    def _begin(self, link: WebSocketLink) -> None:
        serving = self._serve(link)
        task = asyncio.get_running_loop().create_task(serving, context=link.context)
        self._links[link] = task
        task.add_done_callback(lambda done: self._end(link, done), context=link.context)

    def _end(self, link: WebSocketLink, served: asyncio.Future[None]) -> None:
        del self._links[link]
        if not served.cancelled() and served.exception() is not None:
            logger.error("session failed", address=link.address, exc_info=served.exception())
            link.abort()
