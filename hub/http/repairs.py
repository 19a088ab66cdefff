"""What an operator may look at and repair over HTTP, as by the verbs of those names.

What is read is read beside the hub, in a thread, and takes nothing from its own reader.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
import structlog
from aiohttp import web

from hub.http.bearer import Guard
from hub.hub import Hub
from hub.restoring import Lost, NotRestored, restore_live, value_of
from hub.store import looking as stored
from hub.store.beside import looking
from hub.store.errors import NoSuchObject, NoSuchUser, NotKnown
from hub.store.explaining import why
from hub.store.looking import ObjectRow
from hub.store.past import objects_at

T = TypeVar("T")
Said: TypeAlias = dict[str, Any]

MAX_BODY: Final = 64 * 1024
PAGE: Final = 1_000
"""Objects in one answer."""
RESTORE: Final = "/admin/restore"

_STATUSES: Final[Mapping[type[Exception], HTTPStatus]] = {
    NoSuchUser: HTTPStatus.NOT_FOUND,
    NoSuchObject: HTTPStatus.NOT_FOUND,
    NotKnown: HTTPStatus.NOT_FOUND,
    NotRestored: HTTPStatus.CONFLICT,
}

logger: Final = structlog.get_logger("http")


class AboutUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose devices."""

    user: str


class AboutObjects(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which objects: those behind the last of another answer, and as they were at a clock."""

    user: str
    model: str | None = None
    at: int | None = None
    after_model: str = ""
    after_id: str = ""


class AboutObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which object."""

    user: str
    model: str
    id: str


def routes(hub: Hub, data: Path, guard: Guard) -> Sequence[web.RouteDef]:
    """What answers whom the guard lets pass; `data` is the hub's file."""
    desk = RepairDesk(hub, data, guard)
    return (
        web.get("/admin/users", desk.users),
        web.get("/admin/devices", desk.devices),
        web.get("/admin/objects", desk.objects),
        web.get("/admin/why", desk.why),
        web.post(RESTORE, desk.restore),
    )


class RepairDesk:
    """Answers operators."""

    def __init__(self, hub: Hub, data: Path, guard: Guard) -> None:
        self._hub = hub
        self._data = data
        self._guard = guard

    async def users(self, request: web.Request) -> web.Response:
        """All users."""
        return await self._answered(request, self._users())

    async def devices(self, request: web.Request) -> web.Response:
        """A user's devices."""
        return await self._answered(request, self._devices(request))

    async def objects(self, request: web.Request) -> web.Response:
        """Some of a user's objects; `more` says whether there are others behind them."""
        return await self._answered(request, self._objects(request))

    async def why(self, request: web.Request) -> web.Response:
        """Why an object is as it is."""
        return await self._answered(request, self._why(request))

    async def restore(self, request: web.Request) -> web.Response:
        """Bring a lost value back."""
        return await self._answered(request, self._restore(request))

    async def _answered(
        self, request: web.Request, work: Coroutine[Any, Any, Said]
    ) -> web.Response:
        """The answer, or what was wrong; that names objects, and so it is in no log."""
        with contextlib.closing(work):
            self._guard.check(request)
            try:
                return _answer({"success": True, **await work})
            except tuple(_STATUSES) as error:
                told = {"success": False, "message": str(error)}
                return _answer(told, _STATUSES[type(error)])

    async def _users(self) -> Said:
        return {"users": await self._read(lambda file: list(stored.users(file)))}

    async def _devices(self, request: web.Request) -> Said:
        user = _asked(request, AboutUser).user
        return {"devices": await self._read(lambda file: list(stored.devices(file, user)))}

    async def _objects(self, request: web.Request) -> Said:
        rows = await self._read(partial(_page, _asked(request, AboutObjects)))
        return {"objects": rows[:PAGE], "more": len(rows) > PAGE}

    async def _why(self, request: web.Request) -> Said:
        of = _asked(request, AboutObject)
        key = of.model, of.id
        return {"why": await self._read(lambda file: why(file, of.user, key, _tell_nobody))}

    async def _restore(self, request: web.Request) -> Said:
        lost = _decoded(await request.content.read(MAX_BODY), Lost)
        value = await asyncio.to_thread(value_of, self._data, lost)
        restored = await restore_live(self._hub, lost, value)
        logger.warning("value restored", user=lost.user, clock=restored.clock)
        return {"clock": restored.clock, "value": restored.value}

    async def _read(self, work: Callable[[Any], T]) -> T:
        return await asyncio.to_thread(self._look, work)

    def _look(self, work: Callable[[Any], T]) -> T:
        with looking(self._data) as file:
            return work(file)


def _page(of: AboutObjects, file: Any) -> Sequence[ObjectRow]:
    """Objects behind the last of another answer, and one more than an answer has."""
    rows: Iterable[ObjectRow] = (
        stored.objects(file, of.user, of.model)
        if of.at is None
        else objects_at(file, of.user, of.model, of.at)
    )
    behind = of.after_model, of.after_id
    there = (row for row in rows if row.fields is not None and (row.model, row.id) > behind)
    return list(islice(there, PAGE + 1))


def _asked(request: web.Request, kind: type[T]) -> T:
    """What the address asks."""
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.MsgspecError as error:
        raise web.HTTPBadRequest(reason=f"malformed: {error}".replace("\n", " ")) from None


def _decoded(body: bytes, kind: type[T]) -> T:
    """What the body asks."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(reason=f"malformed: {error}".replace("\n", " ")) from None


def _answer(said: Said, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(said), status=status, content_type="application/json"
    )


def _tell_nobody(_part: str, _done: int, _whole: int) -> None:
    """Nobody watches."""
