"""What an operator may look at and repair over HTTP, as by the verbs of those names.

What is read is read beside the hub, in a thread, and takes nothing from its own reader.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
import structlog
from aiohttp import web

from hub.http.bearer import Guard
from hub.http.orders import Said, answered, asked, ordered
from hub.hub import Hub
from hub.restoring import Lost, restore_live, value_of
from hub.store import looking as stored
from hub.store.beside import known, looking
from hub.store.explaining import why
from hub.store.looking import DeviceRow, ObjectRow, PushRow, UserRow
from hub.store.past import objects_at
from hub.store.reading import first_clock

T = TypeVar("T")

PAGE: Final = 1_000
"""Users, or objects, in one answer."""
PUSHES: Final = 100
"""Pushes in one."""
HowMany: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=PAGE)]
RESTORE: Final = "/admin/restore"

logger: Final = structlog.get_logger("http")


class AboutUsers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which users: those behind a name, or in whose name a text is, or who are `connected`.

    `most` of them, and so many `devices` of each, those first that were here last.
    """

    after: str = ""
    find: str = ""
    connected: bool = False
    most: HowMany = PAGE
    devices: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


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
    most: HowMany = PAGE


class AboutLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose pushes, and behind which clock."""

    user: str
    after: int = 0


class AboutObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which object."""

    user: str
    model: str
    id: str


def routes(hub: Hub, data: Path, guard: Guard) -> Sequence[web.RouteDef]:
    """What answers whom the guard lets pass; `data` is the hub's file."""
    repairing = web.post(RESTORE, RepairDesk(hub, data, guard).restore)
    return *looking_routes(hub, data, guard), repairing


def looking_routes(hub: Hub, data: Path, guard: Guard) -> Sequence[web.RouteDef]:
    """The same, less what changes anything."""
    desk = RepairDesk(hub, data, guard)
    return (
        web.get("/admin/users", desk.users),
        web.get("/admin/devices", desk.devices),
        web.get("/admin/objects", desk.objects),
        web.get("/admin/log", desk.log),
        web.get("/admin/why", desk.why),
    )


class RepairDesk:
    """Answers operators."""

    def __init__(self, hub: Hub, data: Path, guard: Guard) -> None:
        self._hub = hub
        self._data = data
        self._guard = guard

    async def users(self, request: web.Request) -> web.StreamResponse:
        """Some users; `more` says whether there are others behind them."""
        return await answered(request, self._guard, self._users(request))

    async def devices(self, request: web.Request) -> web.StreamResponse:
        """A user's devices."""
        return await answered(request, self._guard, self._devices(request))

    async def objects(self, request: web.Request) -> web.StreamResponse:
        """Some of a user's objects; `more` says whether there are others behind them."""
        return await answered(request, self._guard, self._objects(request))

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Some of a user's pushes behind a clock, and the first clock that the log still has."""
        return await answered(request, self._guard, self._log(request))

    async def why(self, request: web.Request) -> web.StreamResponse:
        """Why an object is as it is."""
        return await answered(request, self._guard, self._why(request))

    async def restore(self, request: web.Request) -> web.StreamResponse:
        """Bring a lost value back."""
        return await answered(request, self._guard, self._restore(request))

    async def _users(self, request: web.Request) -> Said:
        of = asked(request, AboutUsers)
        here = self._connected(of) if of.connected else None
        rows, devices = await self._read(partial(_users, of, here))
        connected = {row.user: self._states(row.user) for row in rows[: of.most]}
        more = len(rows) > of.most
        said = {"users": rows[: of.most], "more": more, "connected": connected}
        return said | {"devices": devices} if of.devices else said

    async def _devices(self, request: web.Request) -> Said:
        user = asked(request, AboutUser).user
        rows = await self._read(lambda file: list(stored.devices(file, user)))
        return {"devices": rows, "connected": self._states(user)}

    async def _objects(self, request: web.Request) -> Said:
        of = asked(request, AboutObjects)
        rows = await self._read(partial(_page, of))
        return {"objects": rows[: of.most], "more": len(rows) > of.most}

    def _connected(self, of: AboutUsers) -> Sequence[str]:
        """The names of those who are connected, as far as they are asked for."""
        find = of.find.lower()
        names = (user.name for user in self._hub.users.here())
        return sorted(name for name in names if name > of.after and find in name.lower())

    def _states(self, name: str) -> Mapping[str, str]:
        """The states of a user's devices that are connected, by their names."""
        user = self._hub.users.known(name)
        devices = user.devices if user is not None else {}
        return {device: each.state.name.lower() for device, each in devices.items()}

    async def _log(self, request: web.Request) -> Said:
        first, pushes = await self._read(partial(_pushes, asked(request, AboutLog)))
        return {"pushes": pushes[:PUSHES], "more": len(pushes) > PUSHES, "first_clock": first}

    async def _why(self, request: web.Request) -> Said:
        of = asked(request, AboutObject)
        key = of.model, of.id
        return {"why": await self._read(lambda file: why(file, of.user, key, _tell_nobody))}

    async def _restore(self, request: web.Request) -> Said:
        lost = await ordered(request, Lost)
        value = await asyncio.to_thread(value_of, self._data, lost)
        restored = await restore_live(self._hub, lost, value)
        logger.warning("value restored", user=lost.user, clock=restored.clock)
        return {"clock": restored.clock, "value": restored.value}

    async def _read(self, work: Callable[[Any], T]) -> T:
        return await asyncio.to_thread(self._look, work)

    def _look(self, work: Callable[[Any], T]) -> T:
        with looking(self._data) as file:
            return work(file)


def _users(
    of: AboutUsers, here: Sequence[str] | None, file: Any
) -> tuple[Sequence[UserRow], Mapping[str, Sequence[DeviceRow]]]:
    """Users, one more than an answer has, and some devices of each."""
    rows = (
        stored.users(file, of.after, of.find)
        if here is None
        else stored.users_named(file, here[: of.most + 1])
    )
    found = list(islice(rows, of.most + 1))
    names = [row.user for row in found[: of.most]] if of.devices else []
    return found, stored.devices_of(file, names, of.devices)


def _page(of: AboutObjects, file: Any) -> Sequence[ObjectRow]:
    """Objects behind the last of another answer, and one more than an answer has."""
    behind = of.after_model, of.after_id
    rows: Iterable[ObjectRow] = (
        stored.objects(file, of.user, of.model, behind)
        if of.at is None
        else objects_at(file, of.user, of.model, of.at, behind)
    )
    there = (row for row in rows if row.fields is not None)
    return list(islice(there, of.most + 1))


def _pushes(of: AboutLog, file: Any) -> tuple[int, Sequence[PushRow]]:
    """Where the log begins, and pushes behind a clock: one more than an answer has."""
    user = known(file, of.user)
    rows = islice(stored.pushes(file, user, of.after), PUSHES + 1)
    return first_clock(file, user), list(rows)


def _tell_nobody(_part: str, _done: int, _whole: int) -> None:
    """Nobody watches."""
