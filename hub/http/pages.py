"""Web pages that poll (CORS, https://fetch.spec.whatwg.org): those that may connect, and no others.

A page of another origin is refused, whatever it asks. One that may is told so, or its browser would
hide the answer from it. No cookie is ever read: the token stands in the body, so that a page can do
nothing that its own user could not.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Middleware

from hub.http.answers import refusal
from hub.origins import Pages, may_talk
from protocol.messages import PATH

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ASKED_FIRST: Final = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "3600",
}


def of_pages(pages: Pages, path: str = PATH) -> Middleware:
    """Let pages poll that may, and refuse the others."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if request.path != path or origin is None:
            return await handler(request)
        if not may_talk(pages, origin):
            return refusal(request, HTTPStatus.FORBIDDEN, "pages of this origin may not poll")
        response = await (_what_is_allowed if _is_preflight(request) else handler)(request)
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"
        return response

    return middleware


def _is_preflight(request: web.Request) -> bool:
    """Whether a browser asks, before the page's own request, if it may make it."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


async def _what_is_allowed(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=_ASKED_FIRST)
