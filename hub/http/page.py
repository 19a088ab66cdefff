"""`GET /admin/`: the live page, a few files that are the same for everybody.

Whatever they show they ask of the hub with the admin token. Nothing of a page comes from elsewhere,
and nobody may frame it. Where it is off, its place says how to turn it on, and nothing more.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from aiohttp import web

PATH: Final = "/admin/"
_FILES: Final = "/admin/page/{name}"
_PAGE: Final = "index.html"
_OFF: Final = "off.html"
_ALWAYS: Final = frozenset({"style.css", "icon.svg"})
"""What the page that says how to turn it on is made of, too."""
_TOKEN_NEEDED: Final = b'data-token="needed"'
_NO_TOKEN_NEEDED: Final = b'data-token="none"'
_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        *("script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        *("require-trusted-types-for 'script'", "trusted-types 'none'"),
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def routes(*, is_on: bool, needs_token: bool) -> Sequence[web.RouteDef]:
    """What answers below PATH to anybody."""
    desk = PageDesk(is_on=is_on, needs_token=needs_token)
    return (
        web.get(PATH.rstrip("/"), desk.to_page),
        web.get(PATH, desk.page),
        web.get(_FILES, desk.file),
    )


class PageDesk:
    """Hands out the page's files, which are read once."""

    def __init__(self, *, is_on: bool, needs_token: bool) -> None:
        self._status = HTTPStatus.OK if is_on else HTTPStatus.NOT_FOUND
        found = {
            each.name: each.read_bytes() for each in files("hub.page").joinpath("static").iterdir()
        }
        page, off = found.pop(_PAGE), found.pop(_OFF)
        self._page = page if is_on else off
        if not needs_token:
            self._page = self._page.replace(_TOKEN_NEEDED, _NO_TOKEN_NEEDED)
        self._files = {name: found[name] for name in (found if is_on else _ALWAYS)}

    async def to_page(self, _request: web.Request) -> web.Response:
        """Where the page is; by a relative address, for a proxy may have it elsewhere."""
        return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": "admin/"})

    async def page(self, _request: web.Request) -> web.Response:
        """The page itself."""
        return _answer(_PAGE, self._page, self._status)

    async def file(self, request: web.Request) -> web.Response:
        """What it is made of."""
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        return _answer(name, self._files[name])


def _answer(name: str, body: bytes, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    kind = _TYPES[name.rpartition(".")[2]]
    return web.Response(
        body=body, status=status, headers=HEADERS, content_type=kind, charset="utf-8"
    )
