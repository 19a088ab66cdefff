"""Finding dead peers (docs/protocol.md, section 8): a quiet one is pinged, a silent one given up.

One task watches all links, so that an idle one costs no timer. Any byte counts as a sign of life.
"""

import asyncio
from collections.abc import Collection
from typing import Final

import structlog

from hub.websocket.connection import WebSocketLink

GLANCES: Final = 20
"""How often links are looked at in the time between two pings: so exact are the pings."""

AT_ONCE: Final = 200
"""Links that are looked at without letting anybody else go on."""

logger: Final = structlog.get_logger("hub")


class KeepAlive:
    """Pings each link that was quiet for `ping_seconds`, cuts it off after `timeout_seconds`."""

    def __init__(
        self, links: Collection[WebSocketLink], ping_seconds: float, timeout_seconds: float
    ) -> None:
        self._links = links
        self._quiet: dict[WebSocketLink, float] = {}
        self.keep_to(ping_seconds, timeout_seconds)

    def keep_to(self, ping_seconds: float, timeout_seconds: float) -> None:
        """Go by these times from the next look on."""
        self._glance = ping_seconds / GLANCES
        self._timeout = timeout_seconds
        self._ping = ping_seconds

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(self._glance)
            before, self._quiet = self._quiet, {}
            for number, link in enumerate(tuple(self._links), 1):
                self._look_at(link, before.get(link, 0.0))
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _look_at(self, link: WebSocketLink, quiet: float) -> None:
        """Go by how long it has been quiet, in seconds; a peer that has much to read is not asked.

        It is the sweep for stalled devices that finds out whether that one is alive.
        """
        if link.heard:
            link.heard = False
            self._quiet[link] = 0.0
            return
        self._quiet[link] = now_quiet = quiet + self._glance
        if now_quiet >= self._timeout:
            why = "no answer to pings"
            link.context.run(logger.info, "cut off", address=link.address, why=why)
            link.abort()
        elif now_quiet % self._ping < self._glance and link.buffered == 0:
            link.ping()
