"""`GET /admin/live`: what goes on in the hub, as Server-Sent Events, to whom the guard lets pass.

It goes on until its peer leaves or takes nothing, or the hub stops. Each event is one of

    hub       what runs, and since when (About)
    moments   seconds that ended, those of the last minutes first (hub/page/moments.py)
    standing  how the hub stands now (hub/page/standing.py)
    pushes    pushes that were stored since the last event (hub/page/watching.py)
    leaving   the hub stops
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import msgspec
import structlog
from aiohttp import web

from hub.http.answers import DEADLINE, PRIVATE
from hub.http.bearer import Guard
from hub.http.health import Health
from hub.http.orders import asked
from hub.hub import Hub
from hub.page.moments import Moments
from hub.page.standing import standing_of
from hub.page.watching import A_SECOND, TooManyWatch, Watch, Watchers

PATH: Final = "/admin/live"
LOOK_SECONDS: Final = 0.25
"""How often it is looked whether there is something to tell."""
TAKE_SECONDS: Final = 20.0
"""How long a peer may take to take an event; then it is cut off."""
_HEADERS: Final = {
    **PRIVATE,
    "Content-Type": "text/event-stream",
    "X-Accel-Buffering": "no",  # or nginx would keep what is told for itself
}

logger: Final = structlog.get_logger("http")


class AboutLive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose pushes; without a name those of all."""

    user: str = ""


class About(msgspec.Struct, frozen=True):
    """What runs, since when, and what time it has (ms since 1970); how many pushes it shows."""

    version: str
    began: int
    now: int
    max_connections: int
    pushes_a_second: int


class Live:
    """What is kept for those who watch one hub."""

    def __init__(self, hub: Hub) -> None:
        self.moments = Moments(hub)
        self.watchers = Watchers(hub.commits)


def routes(hub: Hub, health: Health, live: Live, guard: Guard) -> Sequence[web.RouteDef]:
    """What answers at PATH."""
    return (web.get(PATH, LiveDesk(hub, health, live, guard).watch),)


class LiveDesk:
    """Tells those who watch."""

    def __init__(self, hub: Hub, health: Health, live: Live, guard: Guard) -> None:
        self._hub = hub
        self._health = health
        self._live = live
        self._guard = guard
        self._standing_at = -1
        self._standing = b""

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Tell until its peer leaves."""
        self._guard.check(request)
        of = asked(request, AboutLive)
        try:
            with self._live.watchers.watching(of.user) as watch:
                return await self._tell_one(request, watch)
        except TooManyWatch as error:
            raise web.HTTPServiceUnavailable(reason=str(error)) from None

    async def _tell_one(self, request: web.Request, watch: Watch) -> web.StreamResponse:
        request[DEADLINE].reschedule(None)  # from here on each event has one of its own
        _notice_who_vanishes(request)
        response = web.StreamResponse(headers=_HEADERS)
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                await response.prepare(request)
            await self._tell(response, watch)
        except TimeoutError:
            logger.info("watcher cut off, for it took nothing")
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            logger.debug("watcher gone")
        return response

    async def _tell(self, response: web.StreamResponse, watch: Watch) -> None:
        await _say(response, event("hub", self._about()))
        number = 0
        while not self._live.watchers.are_to_leave:
            told = b""
            if moments := self._live.moments.after(number):
                number = moments[-1].number
                watch.make_room()
                told += event("moments", moments) + await self._standing_after(number)
            if (pushes := watch.taken()) is not None:
                told += event("pushes", pushes)
            if told:
                await _say(response, told)
            await asyncio.sleep(LOOK_SECONDS)
        await _say(response, event("leaving", {}))

    def _about(self) -> About:
        began, limits = self._live.moments.began, self._hub.limits
        running = version("mobync-hub")
        return About(running, began, self._hub.now(), limits.max_connections, A_SECOND)

    async def _standing_after(self, number: int) -> bytes:
        """How the hub stands after a moment; all who watch are told the same."""
        if self._standing_at != number:
            sizes = await self._health.sizes()
            self._standing = event("standing", standing_of(self._hub, sizes))
            self._standing_at = number
        return self._standing


def event(name: str, said: object) -> bytes:
    """An event as it is written (https://html.spec.whatwg.org, Server-sent events)."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(said))


async def _say(response: web.StreamResponse, told: bytes) -> None:
    async with asyncio.timeout(TAKE_SECONDS):
        await response.write(told)


def _notice_who_vanishes(request: web.Request) -> None:
    """Have the system give a peer up that answers no packet any more: events fit its buffers."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(OSError):
            milliseconds = int(TAKE_SECONDS * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
