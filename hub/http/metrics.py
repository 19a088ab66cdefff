"""`GET /metrics`: what the hub counts, for Prometheus, and for whoever may read it."""

from collections.abc import Sequence
from typing import Final

from aiohttp import hdrs, web

from hub.http.bearer import Anybody, Bearers, Guard, read_token
from hub.http.health import Health
from hub.hub import Hub
from hub.metrics.exposition import expose
from hub.settings import Settings

PATH: Final = "/metrics"


def routes(hub: Hub, health: Health, readers: Guard) -> Sequence[web.RouteDef]:
    """What answers at PATH whom the guard lets pass."""
    return (web.get(PATH, MetricsDesk(hub, health, readers).metrics),)


def routes_by(
    settings: Settings, admin_token: Sequence[bytes], hub: Hub, health: Health
) -> Sequence[web.RouteDef]:
    """The same for whom the settings let read the metrics; none if that is nobody.

    Raises:
        SettingsError: a token cannot be read, or could be guessed.

    """
    access, tokens = settings.metrics.metrics_access, (*_own_token(settings), *admin_token)
    if access == "off" or (access == "token" and not tokens and not settings.dev):
        return ()
    is_open = access == "open" or not tokens
    return routes(hub, health, Anybody() if is_open else Bearers(tokens, "metrics"))


def _own_token(settings: Settings) -> Sequence[bytes]:
    path = settings.metrics.metrics_token_file
    return () if path is None else (read_token(path, "metrics_token_file"),)


class MetricsDesk:
    """Says what the hub counts."""

    def __init__(self, hub: Hub, health: Health, readers: Guard) -> None:
        self._hub = hub
        self._health = health
        self._readers = readers

    async def metrics(self, request: web.Request) -> web.Response:
        """All metrics; what a store that does not answer would say is left out."""
        self._readers.check(request)
        sizes = await self._health.sizes()
        shown = await expose(self._hub, sizes, request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=shown.body, headers={hdrs.CONTENT_TYPE: shown.content_type})
