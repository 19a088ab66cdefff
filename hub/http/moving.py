"""What an operator may have a hub that serves do with whole users, as by the verbs of those names.

These take as long as a user is large, so the deadlines of other requests are not theirs: each piece
of a body that comes, and each piece of an export that is taken, has one of its own instead.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from hub.exports import End, EndOfUser, Line, NotAnExport, User, read_line
from hub.http.answers import DEADLINE
from hub.http.bearer import Guard
from hub.http.orders import Said, answered, asked, ordered
from hub.http.pieces import PIECE_SECONDS, export_in_pieces, sent
from hub.hub import Hub
from hub.store.beside import known, looking

EXPORT: Final = "/admin/export"
IMPORT: Final = "/admin/import"
DELETE: Final = "/admin/delete-user"
COMPACT: Final = "/admin/compact"
SECONDS: Final = 24 * 3600.0
"""What these may take."""
LONGEST_LINE: Final = 64 * 2**20


class HowToImport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a user of that name is to be replaced."""

    replace: bool = False


class Whose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose export; None: that of all."""

    user: str | None = None


class Whom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which user."""

    user: str


def routes(hub: Hub, data: Path, guard: Guard) -> Sequence[web.RouteDef]:
    """What answers whom the guard lets pass; `data` is the hub's file."""
    desk = MovingDesk(hub, data, guard)
    return (
        web.get(EXPORT, desk.take_out),
        web.post(IMPORT, desk.bring),
        web.post(DELETE, desk.delete),
        web.post(COMPACT, desk.compact),
    )


class MovingDesk:
    """Does with whole users what it is told."""

    def __init__(self, hub: Hub, data: Path, guard: Guard) -> None:
        self._hub = hub
        self._data = data
        self._guard = guard

    async def take_out(self, request: web.Request) -> web.StreamResponse:
        """An export of a user, or of all of them, as it is read."""
        return await self._answered(request, self._take_out(request))

    async def bring(self, request: web.Request) -> web.StreamResponse:
        """Bring in the user of whom the body is an export."""
        return await self._answered(request, self._bring(request))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a user."""
        return await self._answered(request, self._delete(request))

    async def compact(self, request: web.Request) -> web.StreamResponse:
        """Let go what may go, and give its space back."""
        return await self._answered(request, self._compact())

    async def _answered(
        self, request: web.Request, work: Coroutine[Any, Any, Said | web.StreamResponse]
    ) -> web.StreamResponse:
        """Answer in the time that these may take; strangers are refused at once."""
        request[DEADLINE].reschedule(asyncio.get_running_loop().time() + SECONDS)
        return await answered(request, self._guard, work)

    async def _take_out(self, request: web.Request) -> web.StreamResponse:
        return await sent(request, export_in_pieces(self._data, asked(request, Whose).user))

    async def _bring(self, request: web.Request) -> Said:
        replace = asked(request, HowToImport).replace
        lines = _lines(request)
        await anext(lines, None)  # that it is an export
        user = await anext(lines, None)
        if not isinstance(user, User):
            raise NotAnExport("no user comes first in it: is it a bundle, or empty?")
        imported = await self._hub.import_user(user, _alone(lines), replace=replace)
        return imported._asdict()

    async def _delete(self, request: web.Request) -> Said:
        whom = await ordered(request, Whom)
        await asyncio.to_thread(_check_known, self._data, whom.user)
        return {"is_wal_cut": await self._hub.delete_user(whom.user)}

    async def _compact(self) -> Said:
        before = size_of(self._data)
        is_cut = await self._hub.store.compact()
        return {"before": before, "after": size_of(self._data), "is_wal_cut": is_cut}


def size_of(data: Path) -> int:
    """What a file takes on the disk, with its WAL."""
    parts = (data, data.with_name(data.name + "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def _check_known(data: Path, user: str) -> None:
    """Nobody is to be revoked, as who is deleted is, for a slip of the pen."""
    with looking(data) as file:
        known(file, user)


async def _alone(lines: AsyncIterator[Line]) -> AsyncIterator[Line]:
    """The lines of the only user of an export: they end when that does, or nobody comes in."""
    async for line in lines:
        if isinstance(line, EndOfUser) and not isinstance(await anext(lines, None), End):
            raise NotAnExport("it is cut off, or has more than one user: send each alone")
        yield line


async def _lines(request: web.Request) -> AsyncIterator[Line]:
    """The lines of the body, as they come."""
    number, rest = 0, bytearray()
    async for part in _parts(request):
        head, *tails = part.split(b"\n")
        rest += head
        if len(rest) > LONGEST_LINE:
            raise NotAnExport("a line is longer than any object can be")
        for tail in tails:
            number += 1
            yield read_line(bytes(rest), number)
            rest = bytearray(tail)


async def _parts(request: web.Request) -> AsyncIterator[bytes]:
    while not request.content.at_eof():
        async with asyncio.timeout(PIECE_SECONDS):
            part = await request.content.readany()
        yield part
