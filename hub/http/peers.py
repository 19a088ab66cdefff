"""Whose request it is, before anything else is made of it."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web
from aiohttp.typedefs import Middleware

from hub.forwarded import Proxies, connected_from
from hub.http.answers import ADDRESS
from hub.http.site import Silent

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def knowing_peers(proxies: Proxies, silent: Silent) -> Middleware:
    """Let each request know where its peer is, and its connection be silent no more."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        silent.heard(request)
        said = request.headers.getall(proxies.header, [])
        request[ADDRESS] = proxies.peer(connected_from(request.transport), said)
        return await handler(request)

    return middleware
