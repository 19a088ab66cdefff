"""What an operator may ask of a hub that serves: to revoke, to undo that, and what is revoked."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web

from hub.http.bearer import Bearers
from hub.hub import Hub
from hub.revoking import Revocation, of_subject

PATH: Final = "/admin/revoke"
MAX_BODY: Final = 64 * 1024


class Order(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of a request: whom it is about, and whether to let them in again.

    `until` (ms) is when the token runs out, if that is known.
    """

    user: str = ""
    device: str = ""
    token: str = ""
    until: int | None = None
    undo: bool = False

    @property
    def revocation(self) -> Revocation:
        """What to revoke, or to let in again; ValueError: it names nobody, or too many."""
        return of_subject(self.user, self.device, self.token, self.until)


def routes(hub: Hub, operators: Bearers | None) -> Sequence[web.RouteDef]:
    """What answers at PATH whoever shows a token; None: whoever gets there at all."""
    desk = AdminDesk(hub, operators)
    return web.post(PATH, desk.revoke), web.get(PATH, desk.revoked)


class AdminDesk:
    """Takes orders of operators."""

    def __init__(self, hub: Hub, operators: Bearers | None) -> None:
        self._hub = hub
        self._operators = operators

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke, or let in again. When it is answered, it is so."""
        self._check(request)
        order, revocation = await _read(request)
        if order.undo:
            changed = await self._hub.reinstate(revocation)
            return _answer(success=True, revoked=False, changed=changed)
        closed = await self._hub.revoke(revocation)
        return _answer(success=True, revoked=True, closed=closed)

    async def revoked(self, request: web.Request) -> web.Response:
        """List what is revoked."""
        self._check(request)
        rows = [as_row(each) for each in await self._hub.store.revocations()]
        return _answer(success=True, revoked=rows)

    def _check(self, request: web.Request) -> None:
        if self._operators is not None:
            self._operators.check(request)


def as_row(revocation: Revocation) -> dict[str, Any]:
    """A revocation as it is listed: only what it has."""
    row = msgspec.structs.asdict(revocation)
    return {name: value for name, value in row.items() if value not in ("", None)}


async def _read(request: web.Request) -> tuple[Order, Revocation]:
    body = await request.content.read(MAX_BODY)
    try:
        order = msgspec.json.decode(body, type=Order)
        revocation = order.revocation
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(reason=f"malformed: {error}".replace("\n", " ")) from None
    return order, revocation


def _answer(status: HTTPStatus = HTTPStatus.OK, **fields: Any) -> web.Response:
    return web.Response(body=orjson.dumps(fields), status=status, content_type="application/json")
