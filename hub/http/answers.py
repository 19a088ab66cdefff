"""What the HTTP listener answers, in JSON, and to whom."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from aiohttp import web

from protocol.mobync import failure

ADDRESS: Final = web.RequestKey("address", str)
"""Under this a request has the address of its peer, proxies seen through."""

DEADLINE: Final = web.RequestKey("deadline", asyncio.Timeout)
"""Under this a request has its deadline; what takes long, or has no end, puts that off."""
PRIVATE: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Headers of whatever only an operator may see."""

logger: Final = structlog.get_logger("http")


def address_of(request: web.Request) -> str:
    """Where the peer of a request is: an IP address, its proxies seen through."""
    address: str = request.get(ADDRESS, "?")
    return address


def refusal(
    request: web.Request,
    status: HTTPStatus,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An answer in mobync's words, and a line in the log."""
    logger.info("request refused", status=status.value, reason=message, address=address_of(request))
    return web.Response(
        body=failure(message), status=status, headers=headers, content_type="application/json"
    )


def as_json(value: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """An answer that says this."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")
