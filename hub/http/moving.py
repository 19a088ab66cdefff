"""What a verb may have a hub that serves do with whole users, by its control socket alone.

It takes as long as it takes, and a request over HTTP has a deadline.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from hub import exports
from hub.exports import Line, NotAnExport, read_line
from hub.http.bearer import Anybody
from hub.http.orders import Said, answered, asked, ordered
from hub.hub import Hub

IMPORT: Final = "/admin/import"
DELETE: Final = "/admin/delete-user"
COMPACT: Final = "/admin/compact"
SECONDS: Final = 24 * 3600.0
"""What these may take."""
LONGEST_LINE: Final = 64 * 2**20


class HowToImport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a user of that name is to be replaced."""

    replace: bool = False


class Whom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which user."""

    user: str


def routes(hub: Hub, data: Path) -> Sequence[web.RouteDef]:
    """What answers at the control socket of the hub that serves this file."""
    desk = MovingDesk(hub, data)
    return (
        web.post(IMPORT, desk.bring),
        web.post(DELETE, desk.delete),
        web.post(COMPACT, desk.compact),
    )


class MovingDesk:
    """Does with whole users what it is told."""

    def __init__(self, hub: Hub, data: Path) -> None:
        self._hub = hub
        self._data = data
        self._guard = Anybody()

    async def bring(self, request: web.Request) -> web.Response:
        """Bring in the user whose lines are the body."""
        return await answered(request, self._guard, self._bring(request))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a user."""
        return await answered(request, self._guard, self._delete(request))

    async def compact(self, request: web.Request) -> web.Response:
        """Let go what may go, and give its space back."""
        return await answered(request, self._guard, self._compact())

    async def _bring(self, request: web.Request) -> Said:
        lines = _lines(request)
        user = await anext(lines, None)
        if not isinstance(user, exports.User):
            raise NotAnExport("the lines begin with no user")
        replace = asked(request, HowToImport).replace
        imported = await self._hub.import_user(user, lines, replace=replace)
        return imported._asdict()

    async def _delete(self, request: web.Request) -> Said:
        whom = await ordered(request, Whom)
        return {"is_wal_cut": await self._hub.delete_user(whom.user)}

    async def _compact(self) -> Said:
        before = size_of(self._data)
        is_cut = await self._hub.store.compact()
        return {"before": before, "after": size_of(self._data), "is_wal_cut": is_cut}


def size_of(data: Path) -> int:
    """What a file takes on the disk, with its WAL."""
    parts = (data, data.with_name(data.name + "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


async def _lines(request: web.Request) -> AsyncIterator[Line]:
    """The lines of the body, as they come; the first of an export is not among them."""
    rest = bytearray()
    number = 1
    async for part in request.content.iter_any():
        *whole, tail = bytes(rest + part).split(b"\n")
        rest = bytearray(tail)
        if len(rest) > LONGEST_LINE:
            raise NotAnExport("a line is longer than any object can be")
        for text in whole:
            number += 1
            yield read_line(text, number)
