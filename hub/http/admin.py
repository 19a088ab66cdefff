"""What an operator may ask of a hub that serves: to revoke, to undo that, and what is revoked."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web

from hub.http import moving, repairs
from hub.http.answers import PRIVATE
from hub.http.bearer import Guard
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


def routes(hub: Hub, data: Path, guard: Guard) -> Sequence[web.RouteDef]:
    """What answers whom the guard lets pass; `data` is the hub's file."""
    desk = AdminDesk(hub, guard)
    own = web.post(PATH, desk.revoke), web.get(PATH, desk.revoked)
    return *own, *repairs.routes(hub, data, guard), *moving.routes(hub, data, guard)


class AdminDesk:
    """Takes orders of operators."""

    def __init__(self, hub: Hub, guard: Guard) -> None:
        self._hub = hub
        self._guard = guard

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke, or let in again. When it is answered, it is so."""
        self._guard.check(request)
        order, revocation = await _read(request)
        if order.undo:
            changed = await self._hub.reinstate(revocation)
            return _answer(success=True, revoked=False, changed=changed)
        closed = await self._hub.revoke(revocation)
        return _answer(success=True, revoked=True, closed=closed)

    async def revoked(self, request: web.Request) -> web.Response:
        """List what is revoked."""
        self._guard.check(request)
        rows = [as_row(each) for each in await self._hub.store.revocations()]
        return _answer(success=True, revoked=rows)


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
    return web.Response(
        body=orjson.dumps(fields), status=status, headers=PRIVATE, content_type="application/json"
    )
