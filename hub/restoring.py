"""Bringing a lost value back: an ordinary edit, of a device of the hub's own name.

It is made by one who has seen all there is, so the merge keeps it, unless the object is gone; and
it goes out to every device as any other. The value is read from the file, where the log keeps it.
"""

import asyncio
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from hub.auth import Grant
from hub.errors import HubError
from hub.hub import Hub
from hub.store.beside import looking
from hub.store.errors import StoreFailed
from hub.store.explaining import value_at
from hub.store.interface import Incoming, Store, Stored
from hub.user import Waiting
from protocol.diffs import MAX_INTEGER
from protocol.messages import HUB_DEVICE

SECONDS: Final = 20.0
"""How long a push may wait for its turn."""


class Lost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which value is wanted back: of a field of an object, as the push of a clock had it."""

    user: str
    model: str
    id: str
    field: str
    clock: int


class Restored(msgspec.Struct, frozen=True):
    """A value that is there again, by the push of this clock."""

    clock: int
    value: Any


class NotRestored(HubError):
    """The merge, or the application's rules, refused the value; the message says why."""


class _Operator:
    """Who brought a push that no device did; what was stored of it is its future's result."""

    device = HUB_DEVICE
    grant: Grant | None = None

    def __init__(self) -> None:
        self.stored: asyncio.Future[Stored | None] = asyncio.get_running_loop().create_future()

    def settled(self, _waiting: Waiting, stored: Stored | None, /) -> None:
        self._settle(stored)

    def failed(self, _waiting: Waiting, /) -> None:
        self._settle(None)

    def _settle(self, stored: Stored | None) -> None:
        if not self.stored.done():
            self.stored.set_result(stored)


def value_of(data: Path, lost: Lost) -> Any:
    """The value that is wanted back.

    Raises:
        StoreError: it is not known, or there is no such file or user.

    """
    if lost.field == "id":
        raise NotRestored("the id of an object is never lost; name another field")
    with looking(data) as file:
        return value_at(file, lost.user, (lost.model, lost.id), lost.field, lost.clock)


async def restore_live(hub: Hub, lost: Lost, value: Any) -> Restored:
    """Bring a value back through a hub that serves; every connected device has it then.

    Raises:
        NotRestored: the merge refused it.
        BeingMoved: the user goes, or is replaced, just now.
        StoreFailed: it was not stored.

    """
    operator = _Operator()
    incoming = _push(lost, value, hub.now())
    hub.revocations.check_still(lost.user)
    async with hub.users.visit(lost.user) as user:
        if user.head < lost.clock:
            raise NotRestored("the user has another history by now")
        user.push(Waiting(incoming, operator, 0))
        try:
            async with asyncio.timeout(SECONDS):
                stored = await operator.stored
        except TimeoutError:
            raise StoreFailed("the hub is too busy, or stops; look whether it was stored") from None
    return _restored(hub.store, lost, value, stored)


async def restore_stopped(store: Store, lost: Lost, value: Any, now: int) -> Restored:
    """Bring a value back in the store of a hub that does not serve.

    Raises:
        NotRestored: the merge refused it.
        StoreFailed: it was not stored.

    """
    [stored] = await store.commit([_push(lost, value, now)])
    return _restored(store, lost, value, stored)


def _push(lost: Lost, value: Any, now: int) -> Incoming:
    """As of a client that is not one device: so it needs no push id of its own."""
    diff = {
        "id": os.urandom(16).hex(),
        "logical_clock": MAX_INTEGER,  # it has seen all there is when its turn comes
        "utc_timestamp": now,
        "type": "update",
        "model": lost.model,
        "json_data": {"id": lost.id, lost.field: value},
    }
    return Incoming(lost.user, HUB_DEVICE, 0, [diff], polled=True)


def _restored(store: Store, lost: Lost, value: Any, stored: Stored | None) -> Restored:
    if stored is None:
        raise StoreFailed("the value was not stored; try again")
    # Nothing of the log, and no tombstone, waits for a device that is none.
    store.received(lost.user, HUB_DEVICE, MAX_INTEGER)
    for rejected in stored.rejected:
        raise NotRestored(f"the value was not brought back: {rejected.code}, {rejected.message}")
    return Restored(stored.clock, value)
