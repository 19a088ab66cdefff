"""Where HTTP comes in: plain or behind TLS, and for nobody who says nothing.

aiohttp waits for ever for the first request of a connection. Here it has a deadline, from the
moment in which the connection came, and only so many connections may be waited for at once.
"""

import asyncio
import contextlib
import socket
from typing import Any, Final, cast

from aiohttp import web

from hub.limits import Limits
from hub.tls.front import tls_options
from hub.tls.identity import Shows

BACKLOG: Final = 4096
"""Connections that the kernel holds until they are accepted."""
LET_IN_SECONDS: Final = 0.5
"""How long a hub that stops waits for the request of a connection that has just come."""


class Silent:
    """Connections that have not asked anything yet: none of them stays so for long."""

    def __init__(self, limits: Limits) -> None:
        self._seconds = limits.hello_seconds
        self._most = limits.max_ungreeted
        self._deadlines: dict[Any, asyncio.TimerHandle] = {}
        self._is_empty = asyncio.Event()

    @property
    def is_crowded(self) -> bool:
        """Whether there are so many that no more are let in; one that failed in TLS is none."""
        if len(self._deadlines) < self._most:
            return False
        return sum(handler.transport is not None for handler in self._deadlines) >= self._most

    def add(self, handler: asyncio.Protocol) -> None:
        """Wait for the first request of a connection that has just come, but not for ever."""
        loop = asyncio.get_running_loop()
        self._deadlines[handler] = loop.call_later(self._seconds, self._cut_off, handler)

    def heard(self, request: web.Request) -> None:
        """A request has come, but for its body: other deadlines count from here on."""
        deadline = self._deadlines.pop(request.protocol, None)
        if deadline is not None:
            deadline.cancel()
            self._note()

    async def heard_all(self, seconds: float) -> None:
        """Wait until each has asked something or was cut off, but no longer than this."""
        await asyncio.sleep(0)  # what was accepted in this turn of the loop is known in the next
        self._note()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_empty.wait()

    def _note(self) -> None:
        """Keep whether there is any, for who waits until there is none."""
        if self._deadlines:
            self._is_empty.clear()
        else:
            self._is_empty.set()

    def close(self) -> None:
        """Cut off all of them."""
        for handler in tuple(self._deadlines):
            self._cut_off(handler)

    def _cut_off(self, handler: Any) -> None:
        self._deadlines.pop(handler).cancel()
        self._note()
        if handler.transport is not None:
            handler.transport.abort()


class Site(web.BaseSite):
    """Listens on one address, for as long as its runner runs."""

    def __init__(
        self,
        runner: web.AppRunner,
        address: tuple[str, int],
        silent: Silent,
        limits: Limits,
        identity: Shows | None,
        given: socket.socket | None = None,
    ) -> None:
        """A socket that is `given` listens already, and goes on when this stops."""
        super().__init__(runner, backlog=BACKLOG)
        self._address = address
        self._given = given
        self._silent = silent
        self._options = tls_options(
            identity, most=limits.max_ungreeted, seconds=limits.hello_seconds
        )

    @property
    def name(self) -> str:
        """How aiohttp calls it."""
        return "https" if self._options else "http"

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: nobody can listen there.

        """
        await super().start()
        loop = asyncio.get_running_loop()
        host, port = self._address
        where: dict[str, Any] = (
            {"sock": self._given} if self._given else {"host": host, "port": port}
        )
        self._server = await loop.create_server(
            self._arrive, **where, backlog=self._backlog, **self._options
        )

    async def stop(self) -> None:
        """Take no more connections; those that do not ask anything now are cut off."""
        await super().stop()
        await self._silent.heard_all(LET_IN_SECONDS)
        self._silent.close()

    def _arrive(self) -> asyncio.Protocol:
        if self._silent.is_crowded:
            return _Refusing()
        handler = cast("asyncio.Protocol", cast("web.Server", self._runner.server)())
        self._silent.add(handler)
        return handler


class _Refusing(asyncio.Protocol):
    """Cuts off who comes when there are too many already."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()
